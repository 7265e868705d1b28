import type { Tensor } from '../tensor.js';

const kinds = { learned: 1, learnedRange: 2 };

/**
 * The variance in the second half of a model's output [N, ..., 2C], and its logarithm, [N, ..., C]; for 'learnedRange' it lies between
 * the logarithms of `range` [T, 2] at the steps t.
 */
export function modelVariance(
  output: Tensor,
  t: Tensor,
  range: Tensor,
  kind: 'learned' | 'learnedRange',
): { variance: Tensor; logVariance: Tensor } {
  const { device, shape } = output;
  const half = [...shape.slice(0, -1), (shape.at(-1) as number) / 2];
  const [variance, logVariance] = [device.empty(half, 'f32'), device.empty(half, 'f32')];
  device.native.modelVariance(output.handle, t.handle, range.handle, variance.handle, logVariance.handle, kinds[kind]);
  return { variance, logVariance };
}

/** What the bound of x_0 is computed from: a model's output and how `reverseStep` reads it. */
export interface StartBoundInputs {
  output: Tensor;
  xt: Tensor;
  /** i32 [N], rows of `table` (`reverseTable`). */
  t: Tensor;
  table: Tensor;
  /** Share of the values of |x_0| that lie below the bound. */
  ratio: number;
  /** Largest bound; the smallest is 1. */
  max: number;
}

/** The bound of dynamic thresholding of each sample, [N] (Saharia et al. 2022, section 2.3). */
export function startBound({ output, xt, t, table, ratio, max }: StartBoundInputs): Tensor {
  const bound = xt.device.empty(t.shape, 'f32');
  const operands = [output.handle, 0, xt.handle, t.handle, table.handle, bound.handle];
  xt.device.native.threshold(...operands, 1, ratio, max);
  return bound;
}
