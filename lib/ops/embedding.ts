import { tape } from '../autograd/tape.js';
import type { Tensor } from '../tensor.js';
import { asTensor, expectRank, expectShape, oneDevice, optionalTensor, type TensorLike } from './check.js';
import { gradientTarget } from './gradients.js';
import { checkBoolean, checkInteger, checkNames, checkNumber } from './options.js';

/** Options of `ops.timestepEmbedding`. */
export interface TimestepEmbeddingOptions {
  /** [cos | sin] as in improved-diffusion; false: [sin | cos] as in the first DDPM code. */
  flipSinToCos?: boolean;
  /** Subtracted from half the dimension in the exponent: 1 in the first DDPM code. */
  freqShift?: number;
}

const sinusoidNames = ['flipSinToCos', 'freqShift'];

/**
 * Sinusoids of the timesteps (Vaswani et al. 2017): angle[n, i] = t[n] · exp(−ln(10000) · i/(⌊dim/2⌋ − freqShift)); a zero ends
 * an odd `dim`. `t` [N], i32 or f32; returns [N, dim]. Has no gradient.
 */
export function timestepEmbedding(t: TensorLike, dim: number, options: TimestepEmbeddingOptions = {}): Tensor {
  checkNames('timestepEmbedding', options, sinusoidNames);
  const { flipSinToCos = true, freqShift = 0 } = options;
  checkInteger('timestepEmbedding', 'dim', dim, 1);
  checkBoolean('timestepEmbedding', 'flipSinToCos', flipSinToCos);
  checkNumber('timestepEmbedding', 'freqShift', freqShift);
  const steps = asTensor('timestepEmbedding', 't', t, 'i32', 'f32');
  expectRank('timestepEmbedding', 't', steps, 1);
  const y = steps.device.empty([steps.size, dim], 'f32');
  steps.device.native.timestepEmbedding(steps.handle, y.handle, flipSinToCos, freqShift);
  return y;
}

/** Options of `ops.embedding`. */
export interface EmbeddingOptions {
  /** [N, D] (in general: of the result's shape), added to the rows. */
  addend?: TensorLike | null;
}

const embeddingNames = ['addend'];

/**
 * Rows of a table: y[n] = table[ids[n]] + addend[n]. `ids` [N] i32, `table` [V, D]; returns [N, D]; ids of more axes: [..., D].
 * The id -1 stands for a row of zeros. An id outside [-1, V) is found when it runs: reading the result then rejects.
 */
export function embedding(ids: TensorLike, table: TensorLike, options: EmbeddingOptions = {}): Tensor {
  checkNames('embedding', options, embeddingNames);
  const rows = asTensor('embedding', 'ids', ids, 'i32');
  const weights = asTensor('embedding', 'table', table);
  const addend = optionalTensor('embedding', 'addend', options.addend);
  const device = oneDevice('embedding', { ids: rows, table: weights, addend });
  expectRank('embedding', 'table', weights, 2);
  const tableShape = weights.shape;
  const shape = [...rows.shape, tableShape[1] as number];
  if (addend) expectShape('embedding', 'addend', addend, shape);

  const y = device.empty(shape, 'f32');
  device.native.embedding(rows.handle, weights.handle, addend?.handle ?? 0, y.handle);
  const tableEdge = weights.edge;
  const wantsAddend = addend?.edge != null;
  return tape('embedding', y, [weights, addend], [tableEdge ? rows : null], (dy, [rows]) => {
    const target = gradientTarget(device, tableEdge, tableShape);
    if (target) device.native.embeddingBackward((rows as Tensor).handle, dy.handle, target.tensor.handle, target.accumulate);
    return [target?.result ?? null, wantsAddend ? dy : null];
  });
}
