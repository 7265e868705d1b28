import { tape } from '../autograd/tape.js';
import type { Tensor } from '../tensor.js';
import { type Variance, varianceKind } from './tables.js';

const kinds = { fixed: 0, learned: 1, learnedRange: 2 };

/** What a term of the variational bound is computed from, besides the model's output. */
export interface BoundInputs {
  /** f32, as all. */
  x0: Tensor;
  xt: Tensor;
  /** i32 [N], rows of `table` (`boundTable`). */
  t: Tensor;
  table: Tensor;
  variance: Variance;
  /** Bound of x_0 as predicted; 0: none. */
  clip: number;
}

/**
 * The terms of the variational bound of each sample in bits/dim, [N]: KL(q(x_{t-1} | x_t, x_0) ‖ p(x_{t-1} | x_t)), and at t = 0
 * -log p(x_0) of 8-bit images (Ho et al. 2020, eq. 5 and 13). Differentiable in the output; with `detachMean` only in its variance.
 */
export function variationalBound(output: Tensor, inputs: BoundInputs & { detachMean: boolean }): Tensor {
  const { x0, xt, t, table, clip, variance, detachMean } = inputs;
  const { device } = x0;
  const vb = device.empty(t.shape, 'f32');
  const kind = kinds[varianceKind(variance)];
  device.native.variationalBound(output.handle, x0.handle, xt.handle, t.handle, table.handle, 0, vb.handle, 0, 0, clip, kind);
  return tape('variationalBound', vb, [output], [output, x0, xt, t, table], (dy, saved) => {
    const gradient = device.empty(output.shape, 'f32');
    const operands = [...saved, dy, gradient].map((tensor) => tensor.handle);
    device.native.variationalBoundBackward(...operands, clip, kind, detachMean);
    return [gradient];
  });
}

/** Writes the bound's terms, and the mean squared errors of x_0 and of ε as predicted, [N] each; what is null is not computed. */
export function measureBound(
  output: Tensor,
  { x0, xt, t, table, clip, variance, noise }: BoundInputs & { noise: Tensor },
  { vb, xStartMse, mse }: { vb: Tensor; xStartMse: Tensor | null; mse: Tensor | null },
): void {
  const operands = [output, x0, xt, t, table, noise, vb, xStartMse, mse].map((tensor) => tensor?.handle ?? 0);
  x0.device.native.variationalBound(...operands, clip, kinds[varianceKind(variance)]);
}
