import { attention as attend } from '../../ops/attention.js';
import { asFloat, expectRank, type TensorLike } from '../../ops/check.js';
import { scale } from '../../ops/elementwise.js';
import { groupNorm } from '../../ops/groupNorm.js';
import { reshape } from '../../ops/layout.js';
import { linear } from '../../ops/linear.js';
import { checkNames } from '../../ops/options.js';
import type { Tensor } from '../../tensor.js';
import { type Affine, checkWeights } from './weights.js';

/** What a self-attention block learns. C: channels, I: channels inside, all heads together. */
export interface AttentionWeights {
  /** [C]; without it the input is not normalised. */
  norm?: Affine | null;
  /** Queries, [C, I]. */
  q: Affine;
  /** Keys, [C, I]. */
  k: Affine;
  /** Values, [C, I]. */
  v: Affine;
  /** [I, C] */
  out: Affine;
}

/** Options of `blocks.attention`. */
export interface AttentionBlockOptions {
  /** Groups of the normalisation. */
  groups: number;
  /** Added to the variance; 1e-5. */
  eps?: number;
  /** Number of heads; head h has channels h·I/heads to (h + 1)·I/heads − 1. Default 1. */
  heads?: number;
  /** The sum is divided by this; 1. */
  outputScale?: number;
}

const names = ['groups', 'eps', 'heads', 'outputScale'];

/**
 * Self-attention over the pixels of an image (Ho et al. 2020): x + out(attention(q(z), k(z), v(z))), z = norm(x).
 * `x` [N, H, W, C] → the same shape.
 * @throws OptionError for weights or options that are missing or unknown; ShapeError and the like from the operations.
 */
export function attention(x: TensorLike, weights: AttentionWeights, options: AttentionBlockOptions): Tensor {
  checkWeights('attention', weights, ['q', 'k', 'v', 'out'], ['norm']);
  checkNames('attention', options, names);
  const { groups, eps = 1e-5, heads = 1, outputScale = 1 } = options;
  const { norm, q, k, v, out } = weights;
  const input = asFloat('attention', 'x', x);
  expectRank('attention', 'x', input, 4);
  const [n, h, w, c] = input.shape as [number, number, number, number];
  return input.device.scope(() => {
    const tokens = reshape(input, [n, h * w, c]);
    const z = norm ? groupNorm(tokens, norm.weight, norm.bias, { groups, eps }) : tokens;
    const project = ({ weight, bias }: Affine) => linear(z, weight, { bias });
    const mixed = attend(project(q), project(k), project(v), { heads });
    const sum = linear(mixed, out.weight, { bias: out.bias, residual: tokens });
    return reshape(outputScale === 1 ? sum : scale(sum, 1 / outputScale), [n, h, w, c]);
  });
}
