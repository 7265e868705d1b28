import * as v from 'valibot';
import { ImageDataset } from '../data/dataset.js';
import { GaussianDiffusion } from '../diffusion/gaussian.js';
import { NonFiniteError } from '../errors.js';
import { UNet } from '../nn/unet.js';
import { instance, integer, parseOptions, signal } from '../options.js';
import { Batches } from '../training/batches.js';
import { checkData, type MeanError, meanOf } from './lossByTimestep.js';

/** Options of `evaluateBits`. */
export interface EvaluateBitsOptions {
  /** The network, usually with the averaged weights: `trainer.ema`. */
  model: UNet;
  /** Its process, on the model's device. */
  diffusion: GaussianDiffusion;
  /** Images of the model's size and channels, with labels where the model has classes. */
  data: ImageDataset;
  /** How many images, drawn by `seed` without repetition; 8, or all if there are fewer. Each takes T evaluations of the model. */
  count?: number;
  /** Images that go through the model together; 64. The result depends on it by rounding only. */
  batchSize?: number;
  /** Of the choice of images and of the noise; 0. */
  seed?: number;
  /** Aborts between two steps. */
  signal?: AbortSignal;
  /** Hears of each evaluation of the model. */
  onProgress?: (done: number, total: number) => void;
}

/** What `evaluateBits` gives, each a mean over the images. */
export interface BitsEvaluation {
  /** How many were evaluated. */
  images: number;
  /** The variational bound on -log₂ p(x_0) in bits per dimension. */
  bitsPerDimension: number;
  /** Standard error of that mean over the images; 0 for one image. */
  standardError: number;
  /** The part of the prior, KL(q(x_T | x_0) ‖ N(0, 1)). */
  prior: number;
  /** The part of the last step, -log₂ p(x_0 | x_1). */
  decoder: number;
}

const owner = 'evaluateBits';
const schema = v.strictObject({
  model: instance(UNet, 'a UNet'),
  diffusion: instance(GaussianDiffusion, 'a GaussianDiffusion'),
  data: v.custom<ImageDataset>((value) => value instanceof ImageDataset, 'an ImageDataset'),
  count: v.optional(integer(1), 8),
  batchSize: v.optional(integer(1, 65536), 64),
  seed: v.optional(integer(0), 0),
  signal: v.optional(signal()),
  onProgress: v.optional(v.custom<(done: number, total: number) => void>((f) => typeof f === 'function', 'a function')),
});

/**
 * The variational bound on the negative log-likelihood of images in bits per dimension, by `GaussianDiffusion.bitsPerDimension`. One
 * seed gives the same images and noise, for any model of the process.
 * @throws OptionError, ShapeError, DatasetError, DeviceMismatchError; rejects with NonFiniteError, with what reading the images throws,
 * or the signal's reason.
 */
export async function evaluateBits(given: EvaluateBitsOptions): Promise<BitsEvaluation> {
  const { model, diffusion, data, seed, signal, onProgress, ...options } = parseOptions(owner, schema, given);
  checkData(owner, model, diffusion, data);
  const count = Math.min(options.count, data.length);
  const batchSize = Math.min(options.batchSize, count);
  const { numClasses, device } = model;
  const batches = new Batches(data, batchSize, { seed, labelled: numClasses > 0, numClasses: numClasses || undefined });
  const steps = diffusion.schedule.length;
  const evaluations = Math.ceil(count / batchSize) * steps;
  const found = { total: new Float64Array(count), prior: new Float64Array(count), decoder: new Float64Array(count) };
  try {
    for (let first = 0; first < count; first += batchSize) {
      const batch = await batches.of(first / batchSize, signal);
      const size = Math.min(batchSize, count - first);
      using x0 = device.tensor(batch.images.subarray(0, size * data.height * data.width * data.channels), [size, ...data.shape]);
      const before = (first / batchSize) * steps;
      const bits = await diffusion.bitsPerDimension(model, x0, {
        ...{ seed, firstSample: first, signal },
        ...(batch.labels && { labels: batch.labels.slice(0, size) }),
        onProgress: (done) => onProgress?.(before + done, evaluations),
      });
      found.total.set(bits.totalBpd, first);
      found.prior.set(bits.priorBpd, first);
      bits.vb.forEach((terms, n) => {
        found.decoder[first + n] = terms.at(-1) as number;
      });
    }
  } finally {
    await batches.close();
  }
  const { mse: bitsPerDimension, standardError }: MeanError = meanOf(found.total);
  if (!Number.isFinite(bitsPerDimension)) throw new NonFiniteError(`${owner}: the bound is ${bitsPerDimension}`);
  const [prior, decoder] = [meanOf(found.prior).mse, meanOf(found.decoder).mse];
  return { images: count, bitsPerDimension, standardError, prior, decoder };
}
