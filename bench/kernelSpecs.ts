// What bench/kernels.ts times: the operations of the two networks of the literature, and the two ceilings. A spec crosses to the
// PyTorch peer as JSON, so that both sides compute the same.
export type DTypeName = 'f32' | 'bf16';

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
  /** With SiLU. */
  | { kind: 'groupNorm'; pass: 'forward' | 'backward'; n: number; size: number; channels: number; groups: number }
  /** From u8 images, mirrored at random, noise drawn in the kernel; the reverse step draws its noise too. */
  | { kind: 'noising' | 'reverseStep'; n: number; size: number }
  /** Norm, clip, AdamW, average, over parameters of these shapes. */
  | { kind: 'optimizer'; shapes: readonly (readonly number[])[] }
  /** A product of two n × n matrices, and a copy of n values: what the machine can do at most. */
  | { kind: 'gemm' | 'copy'; n: number };

const convolution = (
  n: number,
  size: number,
  cin: number,
  cout: number,
  filter = 3,
  more: { stride?: 2; upsample?: true } = {},
) =>
  (['forward', 'data', 'weights'] as const).map(
    (pass): Spec => ({ kind: 'conv', pass, n, size, cin, cout, filter, stride: 1, upsample: false, ...more }),
  );
const bothWays = (make: (pass: 'forward' | 'backward') => Spec) => [make('forward'), make('backward')];
const attention = (n: number, tokens: number, channels: number, heads = 1) =>
  bothWays((pass) => ({ kind: 'attention', pass, n, tokens, channels, heads }));
const groupNorm = (n: number, size: number, channels: number) =>
  bothWays((pass) => ({ kind: 'groupNorm', pass, n, size, channels, groups: 32 }));

/** DDPM's CIFAR-10 network (Ho et al. 2020) at batch n. */
const cifar = (n: number): Spec[] => [
  ...convolution(n, 32, 3, 128),
  ...convolution(n, 32, 128, 128),
  ...convolution(n, 32, 256, 128),
  ...convolution(n, 32, 384, 128),
  ...convolution(n, 32, 128, 3),
  ...convolution(n, 32, 128, 128, 3, { stride: 2 }),
  ...convolution(n, 16, 256, 256),
  ...convolution(n, 16, 512, 256),
  ...convolution(n, 16, 384, 256, 1),
  ...convolution(n, 16, 256, 768, 1),
  ...convolution(n, 16, 256, 256, 3, { upsample: true }),
  ...convolution(n, 8, 256, 256),
  ...convolution(n, 8, 512, 256),
  ...convolution(n, 4, 256, 256),
  ...attention(n, 256, 256),
  ...groupNorm(n, 32, 128),
  ...groupNorm(n, 16, 256),
  { kind: 'noising', n: 64 * n, size: 32 },
  { kind: 'reverseStep', n: 64 * n, size: 32 },
];

/** improved-diffusion's ImageNet-64 network (Nichol & Dhariwal 2021) at batch n. */
const imagenet64 = (n: number): Spec[] => [
  ...convolution(n, 64, 128, 128),
  ...convolution(n, 64, 256, 128),
  ...convolution(n, 32, 256, 256),
  ...convolution(n, 32, 512, 256),
  ...convolution(n, 32, 256, 256, 3, { upsample: true }),
  ...convolution(n, 16, 384, 384),
  ...convolution(n, 8, 512, 512),
  ...attention(n, 256, 384, 4),
  ...groupNorm(n, 64, 128),
  { kind: 'noising', n: 64 * n, size: 64 },
  { kind: 'reverseStep', n: 64 * n, size: 64 },
];

/** Shapes so small that an emulator gets through them. */
const quick: Spec[] = [
  ...convolution(1, 8, 8, 16),
  ...convolution(1, 4, 8, 8, 3, { upsample: true }),
  ...convolution(2, 5, 3, 8, 3, { stride: 2 }),
  ...attention(1, 16, 8),
  ...bothWays((pass) => ({ kind: 'groupNorm', pass, n: 2, size: 4, channels: 8, groups: 4 })),
  { kind: 'noising', n: 2, size: 8 },
  { kind: 'reverseStep', n: 2, size: 8 },
  { kind: 'optimizer', shapes: [[9, 8, 3, 3], [33]] },
  { kind: 'gemm', n: 32 },
  { kind: 'copy', n: 1000 },
];

/** The list of a network at a batch size; the ceilings come first. */
export function specsOf(network: string, n: number): Spec[] {
  if (network === 'quick') return quick;
  const ceilings: Spec[] = [
    { kind: 'gemm', n: 8192 },
    { kind: 'copy', n: 2 ** 29 },
  ];
  if (network === 'cifar') return [...ceilings, ...cifar(n), { kind: 'optimizer', shapes: Array(54).fill([256, 288, 3, 3]) }];
  if (network === 'imagenet64')
    return [...ceilings, ...imagenet64(n), { kind: 'optimizer', shapes: Array(62).fill([384, 565, 3, 3]) }];
  throw new Error(`no network '${network}'; there are cifar, imagenet64 and quick`);
}

export function nameOf(spec: Spec): string {
  switch (spec.kind) {
    case 'conv': {
      const { pass, n, size, cin, cout, filter, stride, upsample } = spec;
      const how = upsample ? ' upsampled' : stride === 2 ? ' stride 2' : '';
      return `conv ${filter}×${filter} ${cin}→${cout} at ${size}²${how}, batch ${n}, ${pass}`;
    }
    case 'attention':
      return `attention ${spec.tokens}×${spec.channels}, ${spec.heads} heads, batch ${spec.n}, ${spec.pass}`;
    case 'groupNorm':
      return `groupNorm+silu ${spec.channels} at ${spec.size}², batch ${spec.n}, ${spec.pass}`;
    case 'optimizer':
      return `optimizer, ${(parametersOf(spec.shapes) / 1e6).toFixed(1)} M parameters`;
    case 'gemm':
      return `gemm ${spec.n}³`;
    case 'copy':
      return `copy of ${spec.n} values`;
    default:
      return `${spec.kind} ${spec.size}²×3, batch ${spec.n}`;
  }
}

export const parametersOf = (shapes: readonly (readonly number[])[]) =>
  shapes.reduce((sum, shape) => sum + shape.reduce((product, axis) => product * axis, 1), 0);

/** Floating-point operations of the matrix products (0 where bytes are what counts), and the fewest bytes to and from memory. */
export function workOf(spec: Spec, dtype: DTypeName): { flops: number; bytes: number } {
  const width = dtype === 'bf16' ? 2 : 4;
  switch (spec.kind) {
    case 'conv': {
      const { n, size, cin, cout, filter, stride, upsample } = spec;
      const out = upsample ? 2 * size : Math.floor((size + 2 * (filter >> 1) - filter) / stride) + 1;
      const weights = filter * filter * cin * cout;
      const images = n * (size * size * cin + out * out * cout) * width;
      return { flops: 2 * n * out * out * weights, bytes: images + weights * (spec.pass === 'weights' ? 4 : width) };
    }
    case 'attention': {
      const { n, tokens, channels, pass } = spec;
      const [products, tensors] = pass === 'forward' ? [2, 4] : [5, 8];
      return { flops: 2 * products * n * tokens * tokens * channels, bytes: tensors * n * tokens * channels * width };
    }
    case 'groupNorm':
      return { flops: 0, bytes: (spec.pass === 'forward' ? 2 : 3) * spec.n * spec.size ** 2 * spec.channels * width };
    case 'noising': // u8 in, x_t and ε out
      return { flops: 0, bytes: 9 * spec.n * spec.size ** 2 * 3 };
    case 'reverseStep': // x_t and the prediction in; the sample and the predicted x_0 out
      return { flops: 0, bytes: 16 * spec.n * spec.size ** 2 * 3 };
    case 'optimizer': // gradient twice, weight, two moments and average in; the last four out, and the weights' copy in bf16
      return { flops: 0, bytes: (dtype === 'bf16' ? 42 : 40) * parametersOf(spec.shapes) };
    case 'gemm':
      return { flops: 2 * spec.n ** 3, bytes: 3 * spec.n ** 2 * width };
    case 'copy':
      return { flops: 0, bytes: 2 * spec.n * width };
  }
}
