// What bench/suites/kernels.ts times: the operations of a network, and the two ceilings. A spec crosses to the PyTorch peer as
// JSON, so that both sides compute the same: the operation alone, without what the network fuses with it.
import type { Call, Operand } from './dryDevice.js';
import type { NetworkCalls } from './networkCalls.js';

export type Spec =
  | {
      kind: 'conv';
      pass: 'forward' | 'data' | 'weights';
      n: number;
      /** Side of the (square) input. */
      size: number;
      cin: number;
      cout: number;
      filter: number;
      stride: number;
      upsample: boolean;
    }
  | { kind: 'attention'; pass: 'forward' | 'backward'; n: number; tokens: number; channels: number; heads: number }
  | {
      kind: 'groupNorm';
      pass: 'forward' | 'backward';
      n: number;
      /** Pixels of a sample. */
      pixels: number;
      channels: number;
      groups: number;
      silu: boolean;
    }
  /** From u8 images, mirrored at random, noise drawn in the kernel; the reverse step draws its noise too. */
  | { kind: 'noising' | 'reverseStep'; n: number; size: number }
  /** Norm, clip, AdamW, average, over parameters of these shapes. */
  | { kind: 'optimizer'; shapes: readonly (readonly number[])[] }
  /** A product of two n × n matrices, a copy of n values, and their multiplication in place: what the machine can do at most. */
  | { kind: 'gemm' | 'copy' | 'update'; n: number };

/** So many batches are noised at once: at the size of one, starting it takes longer than doing it. */
const processBatches = 64;

/** The distinct operations of a network, in the order in which a training step has them; the reverse step before. */
export function specsOf({ forward, step, parameters }: NetworkCalls): Spec[] {
  const specs = new Map<string, Spec>();
  for (const call of [...forward.filter(({ name }) => name === 'reverseStep'), ...step]) {
    const spec = specOf(call);
    if (spec) specs.set(JSON.stringify(spec), spec);
  }
  return [...specs.values(), { kind: 'optimizer', shapes: parameters }];
}

type Shape = readonly number[];
type Shape4 = readonly [number, number, number, number];

/** What is timed for a call: null for the many small ones. */
function specOf({ name, fields }: Call): Spec | null {
  const shape = (i: number): Shape => (fields[i] as Operand).shape;
  const numbers = fields as readonly number[];
  switch (name) {
    case 'conv2d':
      return convolution('forward', shape(0) as Shape4, shape(2) as Shape4, fields.slice(8));
    case 'conv2dBackwardData':
      return convolution('data', shape(2) as Shape4, shape(1) as Shape4, fields.slice(4));
    case 'conv2dBackwardWeights':
      return convolution('weights', shape(0) as Shape4, shape(3) as Shape4, fields.slice(5));
    case 'attention':
    case 'attentionBackward': {
      const [n, tokens, channels] = shape(0) as [number, number, number];
      const [pass, heads] = name === 'attention' ? ['forward' as const, numbers[5]] : ['backward' as const, numbers[9]];
      return { kind: 'attention', pass, n, tokens, channels, heads: heads as number };
    }
    case 'groupNorm':
      return normalisation('forward', shape(7), fields.slice(9, 10), fields[11]);
    case 'groupNormBackward':
      return normalisation('backward', shape(0), fields.slice(12, 13), fields[13]);
    case 'noising':
    case 'reverseStep': {
      const [n, size] = shape(name === 'noising' ? 0 : 2) as Shape4;
      return { kind: name, n: processBatches * n, size };
    }
    default:
      return null;
  }
}

/** `x` before it is enlarged and without what is concatenated with it: the weight knows all channels. */
function convolution(
  pass: 'forward' | 'data' | 'weights',
  [n, height, width]: Shape4,
  [filter, other, cin, cout]: Shape4,
  window: readonly unknown[],
): Spec {
  const [stride, ...rest] = window as number[];
  const pads = rest.slice(0, 4);
  if (height !== width || filter !== other || pads.some((pad) => pad !== filter >> 1))
    throw new Error(`no benchmark for a convolution of ${height}×${width} by ${filter}×${other} with zeros ${pads}`);
  return { kind: 'conv', pass, n, size: height, cin, cout, filter, stride: stride as number, upsample: window[5] === true };
}

function normalisation(pass: 'forward' | 'backward', shape: Shape, groups: readonly unknown[], silu: unknown): Spec {
  const [n, channels] = [shape[0] as number, shape.at(-1) as number];
  const pixels = shape.slice(1, -1).reduce((product, axis) => product * axis, 1);
  return { kind: 'groupNorm', pass, n, pixels, channels, groups: groups[0] as number, silu: silu === true };
}

export function nameOf(spec: Spec): string {
  switch (spec.kind) {
    case 'conv': {
      const { pass, size, cin, cout, filter, stride, upsample } = spec;
      const how = upsample ? ', upsampled' : stride === 2 ? ', stride 2' : '';
      return `conv ${filter}×${filter}, ${size}²${how}, ${cin} → ${cout}, ${pass}`;
    }
    case 'attention':
      return `attention ${spec.tokens}×${spec.channels}, ${spec.heads === 1 ? '1 head' : `${spec.heads} heads`}, ${spec.pass}`;
    case 'groupNorm':
      return `groupNorm${spec.silu ? '+silu' : ''} ${spec.pixels}×${spec.channels}, ${spec.pass}`;
    case 'optimizer':
      return `optimiser, ${(parametersOf(spec.shapes) / 1e6).toFixed(1)} M parameters`;
    case 'gemm':
      return `gemm ${spec.n}³`;
    case 'copy':
      return `copy of ${spec.n} values`;
    case 'update':
      return `update of ${spec.n} values`;
    default:
      return `${spec.kind === 'noising' ? 'noising' : 'reverse step'} ${spec.size}²×3`;
  }
}

/** What results are grouped by. */
export function kindOf(spec: Spec): string {
  switch (spec.kind) {
    case 'conv':
      return `convolution ${spec.pass}`;
    case 'attention':
      return `attention ${spec.pass}`;
    case 'groupNorm':
      return `normalisation ${spec.pass}`;
    case 'optimizer':
      return 'optimiser';
    case 'reverseStep':
      return 'reverse step';
    default:
      return spec.kind;
  }
}

export const parametersOf = (shapes: readonly Shape[]) =>
  shapes.reduce((sum, shape) => sum + shape.reduce((product, axis) => product * axis, 1), 0);
