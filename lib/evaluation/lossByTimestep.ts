import * as v from 'valibot';
import { noGrad } from '../autograd/tape.js';
import { ImageDataset } from '../data/dataset.js';
import { GaussianDiffusion } from '../diffusion/gaussian.js';
import { checkChannels } from '../diffusion/process.js';
import { DatasetError, DeviceMismatchError, NonFiniteError, ShapeError } from '../errors.js';
import { UNet } from '../nn/unet.js';
import { instance, integer, parseOptions, signal } from '../options.js';
import type { Tensor } from '../tensor.js';
import { Batches, type HostBatch } from '../training/batches.js';

/** Options of `evaluateLoss`. */
export interface EvaluateLossOptions {
  /** The network, usually with the averaged weights: `trainer.ema`. */
  model: UNet;
  /** Its process, on the model's device. */
  diffusion: GaussianDiffusion;
  /** Images of the model's size and channels, with labels where the model has classes. */
  data: ImageDataset;
  /** How many images, drawn by `seed` without repetition; 256, or all if there are fewer. */
  count?: number;
  /** Images that go through the model together; 64. The result depends on it by rounding only. */
  batchSize?: number;
  /** Of the choice of images and of the noise; 0. */
  seed?: number;
  /** Aborts between two batches. */
  signal?: AbortSignal;
  /** Hears of each evaluation of the model. */
  onProgress?: (done: number, total: number) => void;
}

/** The mean squared error over a range of timesteps. */
export interface MeanError {
  /** Mean of the squared error of ε over images, pixels and the steps of the range. */
  mse: number;
  /** Standard error of that mean over the images; 0 for one image. */
  standardError: number;
}

/** The error within one quarter of the timesteps. */
export interface QuartileError extends MeanError {
  /** First timestep, 0-based. */
  first: number;
  /** Last timestep. */
  last: number;
}

/** What `evaluateLoss` gives: the error over all timesteps, and over each quarter of them. */
export interface LossEvaluation extends MeanError {
  /** How many were evaluated. */
  images: number;
  /** From little noise to much; fewer than four where the schedule has fewer steps. */
  quartiles: QuartileError[];
}

const owner = 'evaluateLoss';
const schema = v.strictObject({
  model: instance(UNet, 'a UNet'),
  diffusion: instance(GaussianDiffusion, 'a GaussianDiffusion'),
  data: v.custom<ImageDataset>((value) => value instanceof ImageDataset, 'an ImageDataset'),
  count: v.optional(integer(1), 256),
  batchSize: v.optional(integer(1, 65536), 64),
  seed: v.optional(integer(0), 0),
  signal: v.optional(signal()),
  onProgress: v.optional(v.function('a function')),
});

/**
 * The error of a model's ε on images, without dropout: mean of |ε̂ − ε|² over pixels, images and timesteps, the `L_simple` of Ho et
 * al. 2020 (eq. 14), whatever the model predicts: with ε̂ from its x_0 the error is ᾱ_t/(1−ᾱ_t)·|x̂_0 − x_0|², from its v (Salimans
 * & Ho 2022) ᾱ_t·|v̂ − v|². Each image is noised once in each quarter of the schedule; over the images the timesteps of a quarter
 * are spread evenly. One seed gives the same images, timesteps and noise, for any model of the process.
 * @throws OptionError, ShapeError, DatasetError, DeviceMismatchError; rejects with NonFiniteError naming the timestep, with what
 * reading the images throws, or the signal's reason.
 */
export async function evaluateLoss(given: EvaluateLossOptions): Promise<LossEvaluation> {
  const options = parseOptions(owner, schema, given);
  const { model, diffusion, data, seed } = options;
  checkData(owner, model, diffusion, data);
  const { schedule, prediction, variance, rescaleTimesteps } = diffusion;
  using plain = new GaussianDiffusion(diffusion.device, schedule, { prediction, variance, rescaleTimesteps });
  const count = Math.min(options.count, data.length);
  const batchSize = Math.min(options.batchSize, count);
  const { numClasses } = model;
  const batches = new Batches(data, batchSize, { seed, labelled: numClasses > 0, numClasses });
  const parts = quarters(diffusion.schedule.length);
  const errors = parts.map(() => new Float64Array(count));
  const evaluations = Math.ceil(count / batchSize) * parts.length;
  let done = 0;
  try {
    for (let first = 0; first < count; first += batchSize) {
      const batch = await batches.of(first / batchSize, options.signal);
      const size = Math.min(batchSize, count - first);
      for (const [q, [low, high]] of parts.entries()) {
        options.signal?.throwIfAborted();
        const t = Int32Array.from({ length: size }, (_, i) => low + Math.floor(((first + i + 0.5) / count) * (high - low)));
        const losses = await predictionErrors({ model, data, seed, diffusion: plain }, batch, t, { step: q, firstSample: first });
        losses.forEach((loss, i) => {
          const step = t[i] as number;
          if (!Number.isFinite(loss)) throw new NonFiniteError(`${owner}: the error at timestep ${step} is ${loss}`);
          (errors[q] as Float64Array)[first + i] = loss * errorOfNoise(diffusion, step);
        });
        options.onProgress?.(++done, evaluations);
      }
    }
  } finally {
    await batches.close();
  }
  const steps = diffusion.schedule.length;
  const whole = new Float64Array(count).map((_, i) =>
    parts.reduce((sum, [low, high], q) => sum + ((errors[q] as Float64Array)[i] as number) * ((high - low) / steps), 0),
  );
  const quartiles = parts.map(([low, high], q) => ({ first: low, last: high - 1, ...meanOf(errors[q] as Float64Array) }));
  return { images: count, ...meanOf(whole), quartiles };
}

/** The mean squared error of the prediction for each image of a batch, [N], without dropout. */
async function predictionErrors(
  { model, diffusion, data, seed }: Pick<v.InferOutput<typeof schema>, 'model' | 'diffusion' | 'data' | 'seed'>,
  { images, labels }: HostBatch,
  t: Int32Array,
  noise: { step: number; firstSample: number },
): Promise<Float32Array> {
  const { device } = model;
  const count = t.length;
  const predict = (xt: Tensor, steps: Tensor, extra: { labels?: Tensor }) => model.forward(xt, steps, extra);
  const loss = noGrad(() =>
    device.scope(() => {
      const x0 = device.tensor(images.subarray(0, count * data.height * data.width * data.channels), [count, ...data.shape]);
      const given = { ...noise, seed, labels: labels?.subarray(0, count) };
      return diffusion.trainingLosses(predict, x0, t, given).mse as Tensor;
    }),
  );
  const values = (await loss.read()) as Float32Array;
  loss.dispose();
  return values;
}

/** What the error of the prediction is multiplied by to become that of the ε which follows from it. */
function errorOfNoise({ prediction, schedule }: GaussianDiffusion, t: number): number {
  const alphaBar = schedule.alphasCumprod[t] as number;
  const ofSample = alphaBar / (1 - alphaBar);
  const ofPrevious = ofSample / (schedule.posteriorMeanCoef1[t] as number) ** 2;
  return { epsilon: 1, v: alphaBar, sample: ofSample, previous: ofPrevious }[prediction];
}

/** Four ranges [low, high) that make up [0, steps); as many as there are steps where these are fewer. */
function quarters(steps: number): [low: number, high: number][] {
  const parts = Math.min(4, steps);
  const bound = (q: number) => Math.floor((q * steps) / parts);
  return Array.from({ length: parts }, (_, q) => [bound(q), bound(q + 1)]);
}

/** The mean of some values, and its standard error. @internal */
export function meanOf(values: Float64Array): MeanError {
  const count = values.length;
  const mse = values.reduce((sum, value) => sum + value, 0) / count;
  const squares = values.reduce((sum, value) => sum + (value - mse) ** 2, 0);
  return { mse, standardError: count > 1 ? Math.sqrt(squares / (count - 1) / count) : 0 };
}

/** Throws unless a model can be evaluated on these data. @internal */
export function checkData(owner: string, model: UNet, diffusion: GaussianDiffusion, data: ImageDataset): void {
  if (diffusion.device !== model.device) throw new DeviceMismatchError(`${owner}: model and diffusion are on two devices`);
  if (data.channels !== model.inChannels)
    throw new ShapeError(`${owner}: the data have ${data.channels} channels, the model takes ${model.inChannels}`);
  checkChannels(owner, model, diffusion.variance);
  const size = model.imageSize;
  if (size && (size[0] !== data.height || size[1] !== data.width))
    throw new ShapeError(`${owner}: the data are ${data.height}×${data.width}, the model is for ${size[0]}×${size[1]}`);
  if (model.numClasses > 0 && !data.labelled)
    throw new DatasetError(`${owner}: the model has ${model.numClasses} classes, but the data have no labels`);
}
