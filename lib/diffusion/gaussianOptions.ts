import * as v from 'valibot';
import { boolean, number, oneOf } from '../options.js';
import type { Tensor } from '../tensor.js';
import { type Labels, type NoiseOptions, noiseEntries } from './arguments.js';
import type { FixedVariance, Prediction } from './tables.js';

/** Options of `GaussianDiffusion`. */
export interface GaussianDiffusionOptions {
  /** What the model outputs: the noise, the image, or v; 'epsilon'. */
  prediction?: Prediction;
  /** Variance of a reverse step: β̃_t ('fixedSmall') or β_t ('fixedLarge'); 'fixedSmall'. */
  variance?: FixedVariance;
  /** Clip predictions of x_0 to [-1, 1]; true. */
  clipDenoised?: boolean;
  /** Give the model t·1000/T as fractions instead of t, as improved-diffusion does; false. */
  rescaleTimesteps?: boolean;
  /** Objective of `trainingLosses`: the mean squared error of the prediction. */
  loss?: 'mse';
  /** Weight of a step in the objective. */
  lossWeighting?: 'none';
  /** How training draws its steps. */
  timestepSampler?: 'uniform';
}

/** Options of `qSample`. */
export interface QSampleOptions extends NoiseOptions {
  /** Mirror each image [H, W, C] left-right with probability ½; false. */
  flip?: boolean;
}

/** Options of `ddimSample`. */
export interface DdimSampleOptions extends NoiseOptions {
  /** η of Song et al. 2021 within [0, 1]: 0 draws no noise, 1 as much as DDPM; 0. */
  eta?: number;
}

/** Options of `trainingLosses`. A seed is also that of the network's dropout. */
export interface TrainingLossesOptions extends QSampleOptions {
  /** Handed to the model. */
  labels?: Labels;
}

/** Mean (in the shape of the images) and variance of a Gaussian; the variance is one number a sample, [N]. */
export interface GaussianMoments {
  /** In the shape of the images. */
  mean: Tensor;
  /** [N] */
  variance: Tensor;
  /** Natural logarithm of the variance, [N]. */
  logVariance: Tensor;
}

/** What `pMeanVariance` gives. */
export interface ReverseMoments extends GaussianMoments {
  /** x_0 as predicted (clipped with `clipDenoised`), in the shape of the images. */
  predXStart: Tensor;
}

/** What `qSample` gives, both f32 in the shape of x0. */
export interface NoisedSample {
  /** The noisy images. */
  xt: Tensor;
  /** The ε in them. */
  noise: Tensor;
}

/** Losses of a batch, [N]. `loss` carries the graph; without weights it equals `mse`. */
export interface TrainingLosses {
  /** The objective; its mean is what `backward` takes. */
  loss: Tensor;
  /** Mean squared error of the prediction. */
  mse: Tensor;
}

export const diffusionSchema = v.strictObject({
  prediction: v.optional(oneOf('epsilon', 'sample', 'v'), 'epsilon'),
  variance: v.optional(oneOf('fixedSmall', 'fixedLarge'), 'fixedSmall'),
  clipDenoised: v.optional(boolean(), true),
  rescaleTimesteps: v.optional(boolean(), false),
  loss: v.optional(oneOf('mse'), 'mse'),
  lossWeighting: v.optional(oneOf('none'), 'none'),
  timestepSampler: v.optional(oneOf('uniform'), 'uniform'),
});

const flip = v.optional(boolean(), false);
export const noiseSchema = v.strictObject(noiseEntries);
export const qSampleSchema = v.strictObject({ ...noiseEntries, flip });
export const ddimSchema = v.strictObject({ ...noiseEntries, eta: v.optional(number(0, 1), 0) });
export const trainingLossesSchema = v.strictObject({ ...noiseEntries, flip, labels: v.optional(v.unknown()) });
