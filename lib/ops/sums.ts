import type { Tensor } from '../tensor.js';
import { channelsOf } from './check.js';

/** Pixels that share a pair of sums: `kSumPixels` of native/core/ops/conv2d.h. */
const pixels = 64;

/**
 * Memory for the sums of a convolution's output [N, H, W, K] over each 64 pixels of a sample, Σ y and Σ y²: f32
 * [N, HW/64, K, 2]. It goes with the output, and the group normalisation that reads that needs no pass for its statistics. Null
 * where 64 does not divide HW.
 */
export function attachSums(y: Tensor): Tensor | null {
  const { device } = y;
  const [n, h, w, k] = y.shape as [number, number, number, number];
  if ((h * w) % pixels !== 0) return null;
  const tensor = device.unscoped(() => device.empty([n, (h * w) / pixels, k, 2], 'f32'));
  y.sums = { tensor, version: y.cell.version };
  return tensor;
}

/** The sums of a tensor that has not been written since. */
export function sumsOf(x: Tensor): Tensor | null {
  return x.sums && x.sums.version === x.cell.version ? x.sums.tensor : null;
}

/** What `x` has is as good for `y`, the same memory in another shape, where samples and channels are the same. */
export function shareSums(x: Tensor, y: Tensor): void {
  if (!x.sums || y.shape.length < 2 || y.shape[0] !== x.shape[0] || channelsOf(y) !== channelsOf(x)) return;
  const { tensor, version } = x.sums;
  y.sums = { tensor: x.device.unscoped(() => tensor.alias()), version };
}
