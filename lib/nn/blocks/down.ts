import { OptionError } from '../../errors.js';
import type { TensorLike } from '../../ops/check.js';
import { conv2d } from '../../ops/conv2d.js';
import { checkNames } from '../../ops/options.js';
import { avgPool2d } from '../../ops/pooling.js';
import { show } from '../../options.js';
import type { Tensor } from '../../tensor.js';
import { type Affine, checkWeights } from './weights.js';

/** Options of `blocks.down`. */
export interface DownOptions {
  /** Zeros around the image: 1 on each side, or 0 for one row and column at the lower right only (Ho et al. 2020). */
  padding?: 0 | 1;
}

/**
 * Halves height and width by a 3×3 convolution of stride 2. `x` [N, H, W, C], `weight` [3, 3, C, K] → [N, ⌈H/2⌉, ⌈W/2⌉, K]
 * (⌊H/2⌋ with padding 0). With null for weights: the mean over 2 × 2 pixels, [N, ⌊H/2⌋, ⌊W/2⌋, C].
 * @throws OptionError for unknown weights or options; ShapeError and the like from the operation.
 */
export function down(x: TensorLike, weights: Affine | null, options: DownOptions = {}): Tensor {
  checkNames('down', options, ['padding']);
  if (weights === null) {
    if (options.padding !== undefined) throw new OptionError("down: option 'padding' does not go without weights");
    return avgPool2d(x, 2);
  }
  checkWeights('down', { conv: weights }, ['conv']);
  const { padding = 1 } = options;
  if (padding !== 0 && padding !== 1) throw new OptionError(`down: option 'padding' must be 0 or 1, got ${show(padding)}`);
  const sides = padding === 1 ? 1 : ([0, 0, 1, 1] as const);
  return conv2d(x, weights.weight, { bias: weights.bias, stride: 2, padding: sides, statistics: true });
}
