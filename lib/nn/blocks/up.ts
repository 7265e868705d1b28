import type { TensorLike } from '../../ops/check.js';
import { conv2d } from '../../ops/conv2d.js';
import { upsample } from '../../ops/upsample.js';
import type { Tensor } from '../../tensor.js';
import { type Affine, checkWeights } from './weights.js';

/**
 * Doubles height and width (nearest neighbour), then a 3×3 convolution. `x` [N, H, W, C], `weight` [3, 3, C, K] → [N, 2H, 2W, K].
 * With null for weights: the enlargement alone, [N, 2H, 2W, C].
 * @throws OptionError for weights that are missing; ShapeError and the like from the convolution.
 */
export function up(x: TensorLike, weights: Affine | null): Tensor {
  if (weights === null) return upsample(x);
  checkWeights('up', { conv: weights }, ['conv']);
  return conv2d(x, weights.weight, { bias: weights.bias, padding: 1, upsample: true, statistics: true });
}
