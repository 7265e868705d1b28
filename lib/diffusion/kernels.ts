import type { Rng } from '../random.js';
import type { Tensor } from '../tensor.js';
import type { DirectPrediction, VarianceKind } from './tables.js';

/** Numbers of native/core/ops/process.h. */
const targets: Record<DirectPrediction, number> = { epsilon: 0, sample: 1, v: 2 };

/** Inputs of `applyNoising`, checked. */
export interface NoisingInputs {
  /** f32, or u8 that becomes x/127.5 - 1. */
  x0: Tensor;
  /** i32 [N], rows of `table` [T, 2]. */
  t: Tensor;
  table: Tensor;
  noise: Tensor | null;
  rng: Rng;
  /** Mirror a sample left-right where the generator's next stream says so; needs [N, H, W, C]. */
  flip: boolean;
}

/** What else `applyNoising` gives. */
export interface NoisingOutputs {
  /** Also ε. */
  keepNoise?: boolean;
  /** Also x0 as f32, normalised and mirrored. */
  keepStart?: boolean;
  /** Also what a network should predict. */
  target?: DirectPrediction;
}

/** A tensor for each output that is wanted. */
export type Noised<O extends NoisingOutputs> = { xt: Tensor } & (O extends { keepNoise: true } ? { noise: Tensor } : unknown) &
  (O extends { keepStart: true } ? { x0: Tensor } : unknown) &
  (O extends { target: DirectPrediction } ? { target: Tensor } : unknown);

/** xt = a·x0 + b·ε with (a, b) = table[t]: normalisation, mirroring and drawing in one pass over memory. */
export function applyNoising<O extends NoisingOutputs>(inputs: NoisingInputs & O): Noised<O> {
  const { x0, t, table, noise, rng, flip, keepNoise, keepStart, target } = inputs;
  const { device, shape } = x0;
  const image = () => device.empty(shape, 'f32');
  const made: { xt: Tensor; noise?: Tensor; x0?: Tensor; target?: Tensor } = {
    xt: image(),
    ...(keepNoise && { noise: image() }),
    ...(keepStart && { x0: image() }),
    ...(target && { target: image() }),
  };
  device.native.noising(
    x0.handle,
    t.handle,
    table.handle,
    noise?.handle ?? 0,
    made.xt.handle,
    made.noise?.handle ?? 0,
    made.target?.handle ?? 0,
    made.x0?.handle ?? 0,
    targets[target ?? 'epsilon'],
    flip,
    ...rng.fields,
  );
  rng.advance();
  return made as Noised<O>;
}

/** y = a·x + b·z with (a, b) = table[t]; without z only a·x. */
export function blend(x: Tensor, z: Tensor | null, t: Tensor, table: Tensor): Tensor {
  const y = x.device.empty(x.shape, 'f32');
  x.device.native.blend(x.handle, z?.handle ?? 0, t.handle, table.handle, y.handle);
  return y;
}

/** table[t], [N]. */
export function gather(table: Tensor, t: Tensor): Tensor {
  const picked = table.device.empty(t.shape, table.dtype);
  table.device.native.gather(table.handle, t.handle, picked.handle);
  return picked;
}

/** Numbers of native/core/ops/process.h. */
export const variances: Record<VarianceKind, number> = { fixed: 0, learned: 1, learnedRange: 2 };

/** Inputs of `reverseStep`, checked. */
export interface ReverseInputs {
  /** What the model made of xt: [N, ..., C] as xt, or [N, ..., 2C] with its variance behind. */
  output: Tensor;
  /** Its output without a class, for classifier-free guidance: unconditional + guidance·(output - unconditional). */
  unconditional?: Tensor | null;
  /** Weight of `output` against `unconditional`; 1. */
  guidance?: number;
  xt: Tensor;
  /** x_0 of one and two steps back, for the rows of samplers with a memory. */
  predXStart1?: Tensor | null;
  predXStart2?: Tensor | null;
  /** i32 [N], rows of `table` [T, 13] (`reverseTable`). */
  t: Tensor;
  table: Tensor;
  /** x_0 is clipped to [-clip, clip]; 0: not at all. */
  clip: number;
  /** [N]: instead of `clip`, x_0 is clipped to [-bound, bound] and divided by it (dynamic thresholding). */
  bound?: Tensor | null;
  /** 'fixed' by the table unless said otherwise; the others need an output of 2C channels. */
  variance?: VarianceKind;
  noise: Tensor | null;
  rng: Rng;
}

/** One reverse step by its row of coefficients, and the x_0 predicted on the way. */
export function reverseStep(inputs: ReverseInputs): { sample: Tensor; predXStart: Tensor } {
  const { device, shape } = inputs.xt;
  const made = { sample: device.empty(shape, 'f32'), predXStart: device.empty(shape, 'f32') };
  enqueueReverseStep(inputs, made);
  return made;
}

/** The same into given tensors: `sample` may be xt itself, `predXStart` may be one of earlier steps. */
export function enqueueReverseStep(inputs: ReverseInputs, { sample, predXStart }: { sample: Tensor; predXStart: Tensor }): void {
  const { output, unconditional, guidance = 1, xt, t, table, clip, bound, variance = 'fixed', noise, rng } = inputs;
  xt.device.native.reverseStep(
    output.handle,
    unconditional?.handle ?? 0,
    xt.handle,
    inputs.predXStart1?.handle ?? 0,
    inputs.predXStart2?.handle ?? 0,
    t.handle,
    table.handle,
    bound?.handle ?? 0,
    noise?.handle ?? 0,
    sample.handle,
    predXStart.handle,
    clip,
    guidance,
    variances[variance],
    ...rng.fields,
  );
  rng.advance();
}
