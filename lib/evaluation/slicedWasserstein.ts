import * as v from 'valibot';
import { noGrad } from '../autograd/tape.js';
import { NonFiniteError, OptionError } from '../errors.js';
import { mul } from '../ops/broadcast.js';
import { asTensor, expectShape, oneDevice } from '../ops/check.js';
import { linear } from '../ops/linear.js';
import { integer, parseOptions, signal } from '../options.js';
import { forEachInSlices } from '../slices.js';
import type { Tensor } from '../tensor.js';

/** Options of `slicedWasserstein`. */
export interface SlicedWassersteinOptions {
  /** Random directions; 256. */
  projections?: number;
  /** Of the directions; 0. */
  seed?: number;
  /** Aborts between two directions. */
  signal?: AbortSignal;
}

const schema = v.strictObject({
  projections: v.optional(integer(1, 65536), 256),
  seed: v.optional(integer(0), 0),
  signal: v.optional(signal()),
});

/** Values of one read at most: handing over more at once would hold up the event loop. */
const valuesRead = 1 << 16;

/**
 * The sliced 2-Wasserstein distance between two sets of as many samples each (Bonneel et al. 2015, doi 10.1007/s10851-014-0506-3),
 * here of images by their pixels:
 *
 *   SW₂(A, B) = √( 1/P · Σ_p 1/n · Σ_i (sort(A·θ_p)_i − sort(B·θ_p)_i)² )
 *
 * over P directions θ_p, uniform on the unit sphere. It is 0 between equal sets, whatever their order, and has the unit of the
 * values. Two sets of n from one distribution are still some way apart, by about n^(−1/2): compare with the distance between two
 * halves of the data. It sees colours and large shapes, not what makes an image look sharp.
 * @param a f32 [n, …]
 * @param b f32, in the shape of `a`
 * @throws ShapeError, DTypeError, DeviceMismatchError or OptionError; rejects with NonFiniteError, or the signal's reason.
 */
export async function slicedWasserstein(a: Tensor, b: Tensor, options: SlicedWassersteinOptions = {}): Promise<number> {
  const owner = 'slicedWasserstein';
  const { projections, seed, signal } = parseOptions(owner, schema, options);
  const sets = [asTensor(owner, 'a', a, 'f32'), asTensor(owner, 'b', b, 'f32')] as const;
  const device = oneDevice(owner, { a: sets[0], b: sets[1] });
  expectShape(owner, 'b', sets[1], sets[0].shape);
  const count = sets[0].shape[0] as number;
  if (device.recording) throw new OptionError(`${owner}: inside a recording nothing can be read`);

  const together = Math.max(1, Math.floor(valuesRead / count));
  let sum = 0;
  for (let first = 0; first < projections; first += together) {
    signal?.throwIfAborted();
    const width = Math.min(together, projections - first);
    const [projectedA, projectedB, norms] = await projected(sets, width, { seed, stream: first / together });
    const column = (from: Float32Array, p: number) => {
      const one = new Float32Array(count);
      for (let i = 0; i < count; i++) one[i] = from[i * width + p] as number;
      return one.sort();
    };
    const compare = (p: number) => {
      const [x, y] = [column(projectedA, p), column(projectedB, p)];
      let squares = 0;
      for (let i = 0; i < count; i++) squares += ((x[i] as number) - (y[i] as number)) ** 2;
      sum += squares / (norms[p] as number);
    };
    await forEachInSlices(width, compare, signal);
  }
  if (!Number.isFinite(sum)) throw new NonFiniteError(`${owner}: the samples hold NaN or Infinity`);
  return Math.sqrt(sum / count / projections);
}

/** Both sets along `width` directions, [n, width], and the squared lengths of these, [width]. */
async function projected(
  sets: readonly [Tensor, Tensor],
  width: number,
  draw: { seed: number; stream: number },
): Promise<[Float32Array, Float32Array, Float32Array]> {
  const { device, shape, size } = sets[0];
  const count = shape[0] as number;
  const values = size / count;
  const tensors = noGrad(() =>
    device.scope(() => {
      const directions = device.randn([values, width], draw);
      const project = (set: Tensor) => linear(set.alias([count, values]), directions);
      const ones = device.full([1, values], 1);
      return [project(sets[0]), project(sets[1]), linear(ones, mul(directions, directions))];
    }),
  );
  try {
    return (await Promise.all(tensors.map((tensor) => tensor.read()))) as [Float32Array, Float32Array, Float32Array];
  } finally {
    for (const tensor of tensors) tensor.dispose();
  }
}
