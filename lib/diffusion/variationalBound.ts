import { tape } from '../autograd/tape.js';
import type { Tensor } from '../tensor.js';
import { type ReverseInputs, type VarianceKind, variances } from './kernels.js';

/** Variance of a reverse step as a model tells it, both in the shape of the mean channels: [N, ..., 2C] → [N, ..., C]. */
export function modelVariance(
  output: Tensor,
  t: Tensor,
  table: Tensor,
  kind: Exclude<VarianceKind, 'fixed'>,
): { variance: Tensor; logVariance: Tensor } {
  const { device, shape } = output;
  const half = [...shape.slice(0, -1), (shape[shape.length - 1] as number) / 2];
  const [variance, logVariance] = [device.empty(half, 'f32'), device.empty(half, 'f32')];
  const handles = [output, t, table, variance, logVariance].map(({ handle }) => handle);
  device.native.modelVariance(...handles, variances[kind]);
  return { variance, logVariance };
}

/** Inputs of `variationalBound`, checked. */
export interface BoundInputs {
  /** What the model made of xt: [N, ..., C] as xt, or [N, ..., 2C] with its variance behind. */
  output: Tensor;
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
 * negative log-likelihood of x_0 (Ho et al. 2020, eq. 5 and 13). Differentiable by `output`; with `detachMean` by its variance
 * channels alone (Nichol & Dhariwal 2021, section 3.1).
 */
export function variationalBound({ detachMean = false, ...inputs }: BoundInputs & { detachMean?: boolean }): Tensor {
  const { output, x0, xt, t, table, clip, variance } = inputs;
  const { device } = x0;
  const vb = device.empty([x0.shape[0] as number], 'f32');
  const operands = [output, x0, xt, t, table];
  device.native.variationalBound(...operands.map(({ handle }) => handle), 0, vb.handle, 0, 0, clip, variances[variance]);
  return tape('variationalBound', vb, [output], operands, (dvb, saved) => {
    const gradient = device.empty((saved[0] as Tensor).shape, 'f32');
    const handles = [...saved, dvb, gradient].map(({ handle }) => handle);
    device.native.variationalBoundBackward(...handles, clip, variances[variance], detachMean);
    return [gradient];
  });
}

/** The bound, and the mean squared errors of the predicted x_0 and of the ε that it implies, each [N]; nothing is taped. */
export function boundTerms({ noise, ...inputs }: BoundInputs & { noise: Tensor }): {
  vb: Tensor;
  xStartMse: Tensor;
  mse: Tensor;
} {
  const { output, x0, xt, t, table, clip, variance } = inputs;
  const { device } = x0;
  const perSample = () => device.empty([x0.shape[0] as number], 'f32');
  const terms = { vb: perSample(), xStartMse: perSample(), mse: perSample() };
  const handles = [output, x0, xt, t, table, noise, terms.vb, terms.xStartMse, terms.mse].map(({ handle }) => handle);
  device.native.variationalBound(...handles, clip, variances[variance]);
  return terms;
}

/** The inputs of `reverseStep` that decide x_0. */
export type StartInputs = Pick<ReverseInputs, 'output' | 'unconditional' | 'guidance' | 'xt' | 't' | 'table'>;

/**
 * The bound of dynamic thresholding (Saharia et al. 2022), [N]: the quantile `ratio` of |x_0| over each sample, at least 1 and at
 * most `max` (at least 1). For `reverseStep`.
 */
export function thresholdOf(
  { output, unconditional, guidance = 1, xt, t, table }: StartInputs,
  ratio: number,
  max: number,
): Tensor {
  const bound = xt.device.empty([xt.shape[0] as number], 'f32');
  const inputs = [output.handle, unconditional?.handle ?? 0, xt.handle, t.handle, table.handle];
  xt.device.native.threshold(...inputs, bound.handle, guidance, ratio, max);
  return bound;
}
