import { OptionError } from '../../errors.js';
import { asFloat, type TensorLike } from '../../ops/check.js';
import { conv2d } from '../../ops/conv2d.js';
import { scale } from '../../ops/elementwise.js';
import { groupNorm } from '../../ops/groupNorm.js';
import { linear } from '../../ops/linear.js';
import { checkNames } from '../../ops/options.js';
import { avgPool2d } from '../../ops/pooling.js';
import { upsample } from '../../ops/upsample.js';
import { show } from '../../options.js';
import type { Seed } from '../../random.js';
import type { Tensor } from '../../tensor.js';
import { type Affine, checkWeights } from './weights.js';

/** What a residual block learns. C: channels of x (and skip), K: of the result. */
export interface ResidualWeights {
  /** [C] */
  norm1: Affine;
  /** [3, 3, C, K] */
  conv1: Affine;
  /** [D, K], or [D, 2K] for 'scaleShift'. */
  timeProjection?: Affine | null;
  /** [K] */
  norm2: Affine;
  /** [3, 3, K, K] */
  conv2: Affine;
  /** [1, 1, C, K]; needed where C ≠ K and with a skip. */
  shortcut?: Affine | null;
}

/** Options of `blocks.residual`. */
export interface ResidualOptions {
  /** Groups of both normalisations. */
  groups: number;
  /** Added to the variance; 1e-5. */
  eps?: number;
  /** A second input [N, H, W, C2] whose channels count as following those of `x`. */
  skip?: TensorLike | null;
  /** The activated time embedding [N, D]: silu of what `timeEmbedding` gives. */
  time?: TensorLike | null;
  /** How time enters: added to every pixel after conv1, or as scale and shift of norm2. */
  timeEmbedding?: 'add' | 'scaleShift';
  /** Probability of dropping an element before conv2; 0. */
  dropout?: number;
  /** Seed of the dropout; left out: the device's own stream. */
  seed?: Seed;
  /** Stream of the dropout: one a block, so that no two drop alike; 0. */
  stream?: number;
  /** The sum is divided by this; 1. */
  outputScale?: number;
  /**
   * Change of size before conv1 and on the shortcut (Brock et al. 2019; Dhariwal & Nichol 2021): 'down' averages 2 × 2 pixels, 'up'
   * repeats them. Not with a skip.
   */
  resample?: 'down' | 'up' | null;
}

const names = ['groups', 'eps', 'skip', 'time', 'timeEmbedding', 'dropout', 'seed', 'stream', 'outputScale', 'resample'];

/**
 * Residual block (He et al. 2016, as in Ho et al. 2020): shortcut(x) + conv2(dropout(silu(norm2(conv1(silu(norm1(x))) + time)))).
 * `x` [N, H, W, C1] → [N, H, W, K], of half or twice the size with `resample`.
 * @throws OptionError for weights or options that are missing or unknown; ShapeError and the like from the operations.
 */
export function residual(x: TensorLike, weights: ResidualWeights, options: ResidualOptions): Tensor {
  checkWeights('residual', weights, ['norm1', 'conv1', 'norm2', 'conv2'], ['timeProjection', 'shortcut']);
  checkNames('residual', options, names);
  const { skip, time, timeEmbedding = 'add', resample } = options;
  const { timeProjection, shortcut } = weights;
  if (timeEmbedding !== 'add' && timeEmbedding !== 'scaleShift')
    throw new OptionError(`residual: option 'timeEmbedding' must be 'add' or 'scaleShift', got ${show(timeEmbedding)}`);
  if (!time !== !timeProjection) throw new OptionError('residual: option time and weights.timeProjection come together');
  if (skip && !shortcut) throw new OptionError('residual: weights.shortcut is needed with a skip');
  if (resample != null && resample !== 'down' && resample !== 'up')
    throw new OptionError(`residual: option 'resample' must be 'down', 'up' or null, got ${show(resample)}`);
  if (skip && resample) throw new OptionError("residual: option 'resample' does not go with a skip");
  return asFloat('residual', 'x', x).device.scope(() => {
    const projected = time && timeProjection ? linear(time, timeProjection.weight, { bias: timeProjection.bias }) : null;
    return projectedResidual(x, weights, options, projected);
  });
}

/** The block behind the projection of time: `projected` [N, K], or [N, 2K] for 'scaleShift', stands for `options.time`. @internal */
export function projectedResidual(
  x: TensorLike,
  weights: ResidualWeights,
  options: ResidualOptions,
  projected: Tensor | null,
): Tensor {
  const { groups, eps = 1e-5, skip, timeEmbedding = 'add', dropout = 0, seed, stream, outputScale = 1, resample } = options;
  const { norm1, conv1, norm2, conv2, shortcut } = weights;
  return asFloat('residual', 'x', x).device.scope(() => {
    const [shift, scaleShift] = timeEmbedding === 'add' ? [projected, null] : [null, projected];
    const normed = groupNorm(x, norm1.weight, norm1.bias, { groups, eps, silu: true, skip });
    const first = resample === 'down' ? avgPool2d(normed, 2) : normed;
    const hidden = conv2d(first, conv1.weight, {
      bias: conv1.bias,
      padding: 1,
      shift,
      upsample: resample === 'up',
      statistics: true,
    });
    for (const one of [normed, first]) one.dispose();
    const random = dropout > 0 ? { dropout, seed, stream } : {};
    const second = groupNorm(hidden, norm2.weight, norm2.bias, { groups, eps, silu: true, scaleShift, ...random });
    hidden.dispose();
    const input = resample === 'down' ? avgPool2d(x, 2) : resample === 'up' ? upsample(x) : x;
    const base = shortcut ? conv2d(input, shortcut.weight, { bias: shortcut.bias, skip }) : input;
    const sum = conv2d(second, conv2.weight, { bias: conv2.bias, padding: 1, residual: base, statistics: true });
    return outputScale === 1 ? sum : scale(sum, 1 / outputScale);
  });
}
