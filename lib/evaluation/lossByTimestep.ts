import { noGrad } from '../autograd/tape.js';
import { GaussianDiffusion } from '../diffusion/gaussian.js';
import { NonFiniteError } from '../errors.js';
import type { Tensor } from '../tensor.js';
import {
  batchesOf,
  type CheckedEvaluation,
  checkEvaluation,
  type EvaluationBatch,
  type EvaluationOptions,
  meanOf,
} from './evaluation.js';

/** Options of `evaluateLoss`. */
export interface EvaluateLossOptions extends EvaluationOptions {
  /** How many images, drawn by `seed` without repetition; 256, or all if there are fewer. */
  count?: number;
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

/**
 * The error of a model's ε on images, without dropout: mean of |ε̂ − ε|² over pixels, images and timesteps, the `L_simple` of Ho et
 * al. 2020 (eq. 14), whatever the model predicts: with ε̂ from its x_0 the error is ᾱ_t/(1−ᾱ_t)·|x̂_0 − x_0|², from its v (Salimans
 * & Ho 2022) ᾱ_t·|v̂ − v|². Each image is noised once in each quarter of the schedule; over the images the timesteps of a quarter
 * are spread evenly. One seed gives the same images, timesteps and noise, for any model of the process.
 * @throws OptionError, ShapeError, DatasetError, DeviceMismatchError; rejects with NonFiniteError naming the timestep, with what
 * reading the images throws, or the signal's reason.
 */
export async function evaluateLoss(given: EvaluateLossOptions): Promise<LossEvaluation> {
  const options = checkEvaluation(owner, given, 256);
  const { diffusion, count, batchSize, signal } = options;
  const { device, schedule, prediction, variance, rescaleTimesteps } = diffusion;
  using plain = new GaussianDiffusion(device, schedule, { prediction, variance, rescaleTimesteps });
  const steps = schedule.length;
  const parts = quarters(steps);
  const errors = parts.map(() => new Float64Array(count));
  const evaluations = Math.ceil(count / batchSize) * parts.length;
  let done = 0;
  for await (const batch of batchesOf(options)) {
    const { first, size } = batch;
    for (const [q, [low, high]] of parts.entries()) {
      signal?.throwIfAborted();
      const t = Int32Array.from({ length: size }, (_, i) => low + Math.floor(((first + i + 0.5) / count) * (high - low)));
      const losses = await predictionErrors({ ...options, diffusion: plain }, batch, t, q);
      losses.forEach((loss, i) => {
        const step = t[i] as number;
        if (!Number.isFinite(loss)) throw new NonFiniteError(`${owner}: the error at timestep ${step} is ${loss}`);
        (errors[q] as Float64Array)[first + i] = loss * errorOfNoise(diffusion, step);
      });
      options.onProgress?.(++done, evaluations);
    }
  }
  const whole = new Float64Array(count).map((_, i) =>
    parts.reduce((sum, [low, high], q) => sum + ((errors[q] as Float64Array)[i] as number) * ((high - low) / steps), 0),
  );
  const quartiles = parts.map(([low, high], q) => ({ first: low, last: high - 1, ...meanError(errors[q] as Float64Array) }));
  return { images: count, ...meanError(whole), quartiles };
}

function meanError(errors: Float64Array): MeanError {
  const { mean: mse, standardError } = meanOf(errors);
  return { mse, standardError };
}

/** The mean squared error of the prediction for each image of a batch, [N], without dropout; `step` is that of the noise. */
async function predictionErrors(
  { model, diffusion, data, seed }: CheckedEvaluation,
  { images, labels, first: firstSample, size }: EvaluationBatch,
  t: Int32Array,
  step: number,
): Promise<Float32Array> {
  const { device } = model;
  const predict = (xt: Tensor, steps: Tensor, extra: { labels?: Tensor }) => model.forward(xt, steps, extra);
  const loss = noGrad(() =>
    device.scope(() => {
      const x0 = device.tensor(images, [size, ...data.shape]);
      return diffusion.trainingLosses(predict, x0, t, { step, firstSample, seed, labels: labels ?? undefined }).mse as Tensor;
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
