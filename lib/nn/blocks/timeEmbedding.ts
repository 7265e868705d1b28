import { asTensor, type TensorLike } from '../../ops/check.js';
import { silu } from '../../ops/elementwise.js';
import { timestepEmbedding } from '../../ops/embedding.js';
import { linear } from '../../ops/linear.js';
import { checkNames } from '../../ops/options.js';
import type { Tensor } from '../../tensor.js';
import { type Affine, checkWeights } from './weights.js';

/** What the time embedding learns: two linear maps. */
export interface TimeEmbeddingWeights {
  /** [C, D] */
  linear1: Affine;
  /** [D, D] */
  linear2: Affine;
}

/** Options of `blocks.timeEmbedding`. */
export interface TimeEmbeddingOptions {
  /** C, the number of sinusoids. */
  channels: number;
  /** [cos | sin] instead of [sin | cos]; true. */
  flipSinToCos?: boolean;
  /** Taken off the denominator of the frequencies' exponent; 0. */
  freqShift?: number;
}

const names = ['channels', 'flipSinToCos', 'freqShift'];

/**
 * Sinusoids of the step (Vaswani et al. 2017), then linear, SiLU, linear. `t` [N], i32 or f32 → [N, D], not yet activated.
 * @throws OptionError for weights or options that are missing or unknown; ShapeError and the like from the operations.
 */
export function timeEmbedding(t: TensorLike, weights: TimeEmbeddingWeights, options: TimeEmbeddingOptions): Tensor {
  checkWeights('timeEmbedding', weights, ['linear1', 'linear2']);
  checkNames('timeEmbedding', options, names);
  const { channels, flipSinToCos = true, freqShift = 0 } = options;
  const { linear1, linear2 } = weights;
  return asTensor('timeEmbedding', 't', t, 'i32', 'f32').device.scope(() =>
    twoMaps(timestepEmbedding(t, channels, { flipSinToCos, freqShift }), { linear1, linear2 }),
  );
}

/** Linear, SiLU, linear of features [N, C]: [N, D]. @internal */
export function twoMaps(features: Tensor, { linear1, linear2 }: TimeEmbeddingWeights): Tensor {
  return features.device.scope(() => {
    const hidden = silu(linear(features, linear1.weight, { bias: linear1.bias }));
    return linear(hidden, linear2.weight, { bias: linear2.bias });
  });
}
