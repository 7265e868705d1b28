import { tape } from '../autograd/tape.js';
import type { Tensor } from '../tensor.js';
import { type ReverseInputs, variances } from './kernels.js';
import type { VarianceKind } from './tables.js';

/**
 * The variance in the second half of a model's output [N, ..., 2C], and its logarithm, [N, ..., C]; for 'learnedRange' it lies between
 * the logarithms of `range` [T, 2] at the steps t.
 */
export function modelVariance(
  output: Tensor,
  t: Tensor,
  range: Tensor,
  kind: Exclude<VarianceKind, 'fixed'>,
): { variance: Tensor; logVariance: Tensor } {
  const { device, shape } = output;
  const half = [...shape.slice(0, -1), (shape.at(-1) as number) / 2];
  const [variance, logVariance] = [device.empty(half, 'f32'), device.empty(half, 'f32')];
  const handles = [output, t, range, variance, logVariance].map(({ handle }) => handle);
  device.native.modelVariance(...handles, variances[kind]);
  return { variance, logVariance };
}

/** What the terms of the variational bound are computed from, besides the model's output; checked. */
export interface BoundInputs {
  /** f32, in the shape of xt. */
  x0: Tensor;
  xt: Tensor;
  /** i32 [N], rows of `table` [T, 9] (`boundTable`); step 0 is that of the decoder. */
  t: Tensor;
  table: Tensor;
  /** The predicted x_0 is clipped to [-clip, clip]; 0: not at all. */
  clip: number;
  variance: VarianceKind;
}

/**
 * Terms of the variational bound in bits per dimension, [N]: KL(q(x_{t-1} | x_t, x_0) ‖ p(x_{t-1} | x_t)), and at t = 0 the
 * negative log-likelihood of x_0, of 8-bit images (Ho et al. 2020, eq. 5 and 13). Differentiable by `output`, which is [N, ..., C] as
 * xt, or [N, ..., 2C] with its variance behind; with `detachMean` by its variance channels alone (Nichol & Dhariwal 2021, section 3.1).
 */
export function variationalBound(output: Tensor, inputs: BoundInputs & { detachMean?: boolean }): Tensor {
  const { x0, xt, t, table, clip, variance, detachMean = false } = inputs;
  const { device } = x0;
  const vb = device.empty(t.shape, 'f32');
  measureBound(output, { ...inputs, noise: null }, { vb, xStartMse: null, mse: null });
  return tape('variationalBound', vb, [output], [output, x0, xt, t, table], (dvb, saved) => {
    const gradient = device.empty((saved[0] as Tensor).shape, 'f32');
    const handles = [...saved, dvb, gradient].map(({ handle }) => handle);
    device.native.variationalBoundBackward(...handles, clip, variances[variance], detachMean);
    return [gradient];
  });
}

/**
 * Writes the bound's terms, and the mean squared errors of the predicted x_0 and of the ε that it implies, [N] each; what is null is
 * not computed, and only ε's error needs `noise`. Nothing is taped.
 */
export function measureBound(
  output: Tensor,
  { x0, xt, t, table, clip, variance, noise }: BoundInputs & { noise: Tensor | null },
  { vb, xStartMse, mse }: { vb: Tensor; xStartMse: Tensor | null; mse: Tensor | null },
): void {
  const handles = [output, x0, xt, t, table, noise, vb, xStartMse, mse].map((tensor) => tensor?.handle ?? 0);
  x0.device.native.variationalBound(...handles, clip, variances[variance]);
}

/** The inputs of `reverseStep` that decide x_0. */
export type StartInputs = Pick<ReverseInputs, 'output' | 'unconditional' | 'guidance' | 'xt' | 't' | 'table'>;

/**
 * The bound of dynamic thresholding (Saharia et al. 2022, section 2.3), [N]: the quantile `ratio` of |x_0| over each sample, at least 1 and at
 * most `max` (at least 1). For `reverseStep`.
 */
export function thresholdOf(
  { output, unconditional, guidance = 1, xt, t, table }: StartInputs,
  { ratio, max }: { ratio: number; max: number },
): Tensor {
  const bound = xt.device.empty(t.shape, 'f32');
  const inputs = [output.handle, unconditional?.handle ?? 0, xt.handle, t.handle, table.handle];
  xt.device.native.threshold(...inputs, bound.handle, guidance, ratio, max);
  return bound;
}
