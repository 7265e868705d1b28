import { tape } from '../autograd/tape.js';
import { ShapeError } from '../errors.js';
import type { Tensor } from '../tensor.js';
import { asFloat, expectRank, expectShape, oneDevice, type TensorLike } from './check.js';
import { checkInteger, checkNames, checkNumber } from './options.js';

/** Options of `ops.attention`. */
export interface AttentionOptions {
  /** Number of heads; head h holds channels h·D … h·D + D − 1. */
  heads?: number;
  /** What q·k is multiplied by; 1/√D when left out. */
  scale?: number;
}

const names = ['heads', 'scale'];

/**
 * Scaled dot-product attention (Vaswani et al. 2017): y[n, i, h] = Σ_j softmax_j(scale · q[n, i, h]·k[n, j, h]) · v[n, j, h].
 * `q`, `k`, `v` [N, L, heads·D] alike, f32 or bf16; returns the same. Throws typed errors naming the argument.
 */
export function attention(q: TensorLike, k: TensorLike, v: TensorLike, options: AttentionOptions = {}): Tensor {
  checkNames('attention', options, names);
  const { heads = 1 } = options;
  checkInteger('attention', 'heads', heads, 1);
  const query = asFloat('attention', 'q', q);
  const key = asFloat('attention', 'k', k, query);
  const value = asFloat('attention', 'v', v, query);
  const device = oneDevice('attention', { q: query, k: key, v: value });
  expectRank('attention', 'q', query, 3);
  const { shape, dtype } = query;
  expectShape('attention', 'k', key, shape);
  expectShape('attention', 'v', value, shape);
  const [n, l, c] = shape as [number, number, number];
  if (c % heads !== 0) throw new ShapeError(`attention: heads = ${heads} does not divide ${c} channels, q is [${shape}]`);
  const { scale = 1 / Math.sqrt(c / heads) } = options;
  checkNumber('attention', 'scale', scale);

  const y = device.empty(shape, dtype);
  const lse = device.empty([n, heads, l], 'f32');
  device.native.attention(query.handle, key.handle, value.handle, y.handle, lse.handle, heads, scale);
  const wants = [query, key, value].map((input) => input.edge !== null);
  tape('attention', y, [query, key, value], [query, key, value, y, lse], (dy, saved) => {
    const gradients = wants.map(() => device.empty(shape, dtype));
    const handles = [dy, ...saved, ...gradients].map((tensor) => tensor.handle);
    device.native.attentionBackward(...handles, heads, scale);
    return gradients.map((gradient, i) => (wants[i] ? gradient : null));
  });
  lse.dispose();
  return y;
}
