import * as v from 'valibot';
import { OptionError } from '../errors.js';
import { integer, parseOptions, signal } from '../options.js';
import type { Seed } from '../random.js';
import { checkSeed, readSeed } from '../sampling/seeds.js';
import type { Tensor } from '../tensor.js';
import { type Labels, labelsOf, tensorLike, tensorOn } from './arguments.js';
import { BoundBatch } from './boundBatch.js';
import { checkModel, type Model } from './model.js';
import { imageTypes, type Process } from './process.js';

/** Options of `bitsPerDimension`. */
export interface BitsPerDimensionOptions {
  /** One class a sample, for class-conditional models. */
  labels?: Labels;
  /** T tensors in the shape of x0, instead of drawing: the k-th noises x0 to step T-1-k. */
  noises?: readonly Tensor[];
  /** Noise is a function of (seed, sample, step). Default: a new one for each call. */
  seed?: Seed;
  /** Number of the batch's first sample within the seed; 0. */
  firstSample?: number;
  /** Aborts between two steps. */
  signal?: AbortSignal;
  /** Hears of each evaluation of the model. */
  onProgress?: (done: number, total: number) => void;
}

/** What `bitsPerDimension` gives; rows of [batch][T] hold a column a step, from t = T-1 down to 0. */
export interface BitsPerDimension {
  /** The bound on -log₂ p(x_0) divided by the number of dimensions, [batch]: the sum of the other two. */
  totalBpd: Float32Array;
  /** KL(q(x_T | x_0) ‖ N(0, 1)), [batch]. */
  priorBpd: Float32Array;
  /** The bound's terms, [batch][T]. */
  vb: Float32Array[];
  /** Mean squared error of x_0 as predicted, [batch][T]. */
  xStartMse: Float32Array[];
  /** Mean squared error of the ε that follows from it, [batch][T]. */
  mse: Float32Array[];
}

const operation = 'bitsPerDimension';
const schema = v.strictObject({
  labels: v.optional(v.unknown()),
  noises: v.optional(v.array(v.unknown(), 'an array of tensors')),
  seed: v.optional(v.unknown()),
  firstSample: v.optional(integer(0, 2 ** 32 - 1), 0),
  signal: v.optional(signal()),
  onProgress: v.optional(v.custom<(done: number, total: number) => void>((f) => typeof f === 'function', 'a function')),
});

const stepsInFlight = 2;

/** The variational bound of images, term by term. */
export async function bitsPerDimension(
  process: Process,
  model: Model,
  x0: Tensor,
  given: BitsPerDimensionOptions,
): Promise<BitsPerDimension> {
  const { device, schedule, tables } = process;
  const total = schedule.length;
  tables.check();
  checkModel(operation, model, device);
  const images = tensorOn(device, operation, 'x0', x0, ...imageTypes);
  const count = images.shape[0] as number;
  const options = parseOptions(operation, schema, given) as BitsPerDimensionOptions & { firstSample: number };
  const { signal, onProgress } = options;
  checkSeed(operation, device, options.seed);
  if (device.recording) throw new OptionError(`${operation}: inside a recording nothing can be read`);
  const noises = checkNoises(process, images, options.noises);
  using batch = new BoundBatch(process, model, images, {
    labels:
      options.labels === undefined ? null : device.unscoped(() => labelsOf(device, operation, options.labels as Labels, count)),
    noises: noises?.map((noise) => device.unscoped(() => noise.alias())) ?? null,
  });
  const seed = await readSeed(options.seed);
  const terms = { vb: rows(count, total), xStartMse: rows(count, total), mse: rows(count, total) };
  const priorBpd = await batch.prior();
  const pending: Promise<void>[] = [];
  try {
    for (let k = 0; k < total; k++) {
      signal?.throwIfAborted();
      tables.check();
      await batch.step(seed, options.firstSample, k);
      const read = batch.read().then((values) => {
        for (const [which, name] of (['vb', 'xStartMse', 'mse'] as const).entries())
          for (let n = 0; n < count; n++) (terms[name][n] as Float32Array)[k] = values[which * count + n] as number;
        onProgress?.(k + 1, total);
      });
      read.catch(() => {}); // awaited in its turn
      pending.push(read);
      if (pending.length === stepsInFlight) await pending.shift();
    }
    await Promise.all(pending);
  } finally {
    await Promise.allSettled(pending);
  }
  const totalBpd = priorBpd.map((prior, n) => (terms.vb[n] as Float32Array).reduce((sum, term) => sum + term, prior));
  return { totalBpd, priorBpd, ...terms };
}

function checkNoises({ schedule }: Process, x0: Tensor, given: readonly unknown[] | undefined): Tensor[] | null {
  if (given === undefined) return null;
  if (given.length !== schedule.length)
    throw new OptionError(
      `${operation}: option 'noises' must hold ${schedule.length} tensors, one for each step, got ${given.length}`,
    );
  return given.map((noise, k) => tensorLike(x0, operation, `noises[${k}]`, noise));
}

function rows(count: number, columns: number): Float32Array[] {
  return Array.from({ length: count }, () => new Float32Array(columns));
}
