import * as v from 'valibot';
import { OptionError } from '../errors.js';
import { boolean, number, oneOf, parseOptions, positive } from '../options.js';
import type { Tensor } from '../tensor.js';
import { type Labels, type NoiseOptions, noiseEntries } from './arguments.js';
import type { Prediction, Variance } from './tables.js';

/** The objective of `trainingLosses`. */
export type LossKind = 'mse' | 'rescaledMse' | 'kl' | 'rescaledKl' | 'l1' | 'huber';

/** Clipping that adapts to each sample (Saharia et al. 2022, arXiv 2205.11487, section 2.3). */
export interface DynamicThreshold {
  /** Share of the values of |x_0| that lie below the bound s, within [0, 1]; 0.995. */
  ratio?: number;
  /** Largest s; 1, with which nothing is scaled. */
  max?: number;
}

/** Options of `GaussianDiffusion`. */
export interface GaussianDiffusionOptions {
  /** What the model outputs: the noise, the image, v, or the mean of x_{t-1}; 'epsilon'. */
  prediction?: Prediction;
  /**
   * Variance of a reverse step: β̃_t ('fixedSmall'), β_t ('fixedLarge'), or put out by the model in as many channels again behind its
   * prediction: its logarithm ('learned'), or where in [-1, 1] it lies between the two ('learnedRange'); 'fixedSmall'.
   */
  variance?: Variance;
  /** Clip predictions of x_0 to [-1, 1]; true. */
  clipDenoised?: boolean;
  /**
   * Changes predictions of x_0 in reverse steps, before they are clipped: gets f32 values in the shape of the images and returns such
   * ones, which pass to the process. Neither checkpoints nor pipelines hold it: give it to `Trainer.resume` and `loadPipeline` again.
   */
  denoisedFn?: (predXStart: Tensor) => Tensor;
  /** Clip each sample's x_0 to [-s, s] and divide it by s, which lies between 1 and `max`, instead of `clipDenoised`. */
  dynamicThreshold?: DynamicThreshold;
  /** Give the model t·1000/T as fractions instead of t, as improved-diffusion does; false. */
  rescaleTimesteps?: boolean;
  /**
   * Objective of `trainingLosses`; 'mse'.
   * - 'mse': the squared error of the prediction, and with a learned variance the variational bound besides, in which the mean is
   *   detached (Nichol & Dhariwal 2021, eq. 16);
   * - 'rescaledMse': the same with the bound times T/1000;
   * - 'kl': the term of the variational bound alone, in bits/dim; 'rescaledKl': T times that, an estimate of the whole bound;
   * - 'l1', 'huber' (δ = 1): the absolute or the Huber error in place of the squared one, the bound as for 'rescaledMse'.
   */
  loss?: LossKind;
  /** Weight of a step's error: none, or by its signal-to-noise ratio (Hang et al. 2023, arXiv 2303.09556); 'none'. */
  lossWeighting?: 'none' | 'minSnr';
  /** γ of 'minSnr': min(snr, γ)/snr for ε, min(snr, γ) for x_0, min(snr, γ)/(snr + 1) for v; 5. */
  minSnrGamma?: number;
  /**
   * How training draws its steps: all alike, or those more often whose loss varies more, weighted accordingly
   * (`LossSecondMomentSampler`); 'uniform'.
   */
  timestepSampler?: 'uniform' | 'lossSecondMoment';
}

/** Options of `qSample`. */
export interface QSampleOptions extends NoiseOptions {
  /** Mirror each image [H, W, C] left-right with probability ½; false. */
  flip?: boolean;
}

/** Options of `pSample`. */
export interface PSampleOptions extends NoiseOptions {
  /**
   * ∇ log p(y | x_t) of a classifier, in the shape of xt, scaled as wished (Dhariwal & Nichol 2021, arXiv 2105.05233): `pSample` adds
   * variance·gradient to the mean (algorithm 1), `ddimSample` takes √(1-ᾱ_t)·gradient from ε (algorithm 2), and clips before that.
   */
  classifierGradient?: Tensor;
}

/** Options of `ddimSample`. */
export interface DdimSampleOptions extends PSampleOptions {
  /** η of Song et al. 2021 within [0, 1]: 0 draws no noise, 1 as much as DDPM; 0. */
  eta?: number;
}

/** Options of `trainingLosses`. A seed is also that of the network's dropout. */
export interface TrainingLossesOptions extends QSampleOptions {
  /** Handed to the model. */
  labels?: Labels;
}

/** Mean (in the shape of the images) and variance of a Gaussian; the variance is one number a sample, [N], unless it is learned. */
export interface GaussianMoments {
  /** In the shape of the images. */
  mean: Tensor;
  /** [N], or in the shape of the images where the model puts it out. */
  variance: Tensor;
  /** Natural logarithm of the variance, shaped like it. */
  logVariance: Tensor;
}

/** What `pMeanVariance` gives. */
export interface ReverseMoments extends GaussianMoments {
  /** x_0 as predicted (clipped with `clipDenoised`), in the shape of the images. */
  predXStart: Tensor;
}

/** What a reverse step gives: the next x, and x_0 as predicted (clipped with `clipDenoised`), both in the shape of xt. */
export interface ReverseSample {
  /** The next x. */
  sample: Tensor;
  /** x_0 as predicted. */
  predXStart: Tensor;
}

/** What `qSample` gives, both f32 in the shape of x0. */
export interface NoisedSample {
  /** The noisy images. */
  xt: Tensor;
  /** The ε in them. */
  noise: Tensor;
}

/** Losses of a batch, [N]. Only `loss` carries the graph. */
export interface TrainingLosses {
  /** The objective; its mean is what `backward` takes. */
  loss: Tensor;
  /** Mean squared error of the prediction, without weights; absent where the objective does not contain it. */
  mse?: Tensor;
  /** The variational bound's term in bits/dim as it enters the objective; absent where the objective does not contain it. */
  vb?: Tensor;
}

const thresholdSchema = v.strictObject({ ratio: v.optional(number(0, 1), 0.995), max: v.optional(number(1), 1) });

export const diffusionSchema = v.strictObject({
  prediction: v.optional(oneOf('epsilon', 'sample', 'v', 'previous'), 'epsilon'),
  variance: v.optional(oneOf('fixedSmall', 'fixedLarge', 'learned', 'learnedRange'), 'fixedSmall'),
  clipDenoised: v.optional(boolean(), true),
  denoisedFn: v.optional(
    v.custom<(predXStart: Tensor) => Tensor>((value) => typeof value === 'function', 'a function (predXStart) => Tensor'),
  ),
  dynamicThreshold: v.optional(thresholdSchema),
  rescaleTimesteps: v.optional(boolean(), false),
  loss: v.optional(oneOf('mse', 'rescaledMse', 'kl', 'rescaledKl', 'l1', 'huber'), 'mse'),
  lossWeighting: v.optional(oneOf('none', 'minSnr'), 'none'),
  minSnrGamma: v.optional(positive(), 5),
  timestepSampler: v.optional(oneOf('uniform', 'lossSecondMoment'), 'uniform'),
});

/** The options of a process, defaults filled in. */
export type CheckedDiffusionOptions = v.InferOutput<typeof diffusionSchema>;

/** Throws OptionError for options that are wrong, or do not go together. */
export function checkDiffusionOptions(given: unknown): CheckedDiffusionOptions {
  const owner = 'new GaussianDiffusion';
  const checked = parseOptions(owner, diffusionSchema, given);
  const { loss, lossWeighting, prediction } = checked;
  if (lossWeighting === 'minSnr' && (loss === 'kl' || loss === 'rescaledKl' || prediction === 'previous'))
    throw new OptionError(
      `${owner}: option 'lossWeighting' 'minSnr' goes only with errors of ε, x_0 or v, got loss '${loss}', prediction '${prediction}'`,
    );
  return checked;
}

/** What JSON can hold of the options of a process: all but `denoisedFn`. */
export function settingsOfProcess(process: Readonly<CheckedDiffusionOptions>): Omit<CheckedDiffusionOptions, 'denoisedFn'> {
  const { prediction, variance, clipDenoised, dynamicThreshold, rescaleTimesteps } = process;
  const { loss, lossWeighting, minSnrGamma, timestepSampler } = process;
  return {
    ...{ prediction, variance, clipDenoised, rescaleTimesteps, loss, lossWeighting, minSnrGamma, timestepSampler },
    ...(dynamicThreshold && { dynamicThreshold }),
  };
}

const flip = v.optional(boolean(), false);
const reverseEntries = { ...noiseEntries, classifierGradient: v.optional(v.unknown()) };
export const noiseSchema = v.strictObject(noiseEntries);
export const qSampleSchema = v.strictObject({ ...noiseEntries, flip });
export const pSampleSchema = v.strictObject(reverseEntries);
export const ddimSchema = v.strictObject({ ...reverseEntries, eta: v.optional(number(0, 1), 0) });
export const trainingLossesSchema = v.strictObject({ ...noiseEntries, flip, labels: v.optional(v.unknown()) });
