import * as v from 'valibot';
import type { Labels } from '../diffusion/arguments.js';
import { GaussianDiffusion } from '../diffusion/gaussian.js';
import { instance, integer, number, oneOf, signal } from '../options.js';
import type { Seed } from '../random.js';
import type { Tensor } from '../tensor.js';

/** Options of `new Sampler`. */
export interface SamplerOptions {
  /**
   * 'ddpm': the posterior's mean and its noise (Ho et al. 2020, arXiv 2006.11239, algorithm 2); 'ddim': Song et al. 2021
   * (arXiv 2010.02502, equation 12), with ε derived again from the clipped x_0.
   */
  method?: 'ddpm' | 'ddim';
  /** Model evaluations. Default: all steps of the schedule for 'ddpm', 100 (or all, if it has fewer) for 'ddim'. */
  steps?: number;
  /** η of 'ddim', 0 to 1: 0 draws no noise, 1 as much as the posterior. Default 0. */
  eta?: number;
  /** Which steps of the schedule are kept. 'article': round(i·(T-1)/(steps-1)), first and last included; the others as in diffusers. */
  spacing?: 'article' | 'leading' | 'linspace' | 'trailing';
  /** [height, width, channels] of the samples; needed where the model is a function and no `initial` is given. */
  shape?: readonly [height: number, width: number, channels: number];
}

/** Options of `Sampler.steps`. */
export interface SamplerStepsOptions {
  /** How many samples. Default: as many as `initial` holds, else 1. */
  count?: number;
  /** Number of the first sample within the seed. Default 0. */
  first?: number;
  /** Sample k of a seed is the same whatever the batch. Default: a new one for each call. */
  seed?: Seed;
  /** One class a sample, for class-conditional models. */
  labels?: Labels;
  /** Scale of classifier-free guidance; 1, which is off. */
  guidance?: 1;
  /** Aborts between two steps. */
  signal?: AbortSignal;
  /** x_T, [count, height, width, channels], instead of drawing it. */
  initial?: Tensor;
  /** The k-th draw of the loop is noises[k], each [count, height, width, channels], instead of drawing it. */
  noises?: readonly Tensor[];
}

/** Options of `Sampler.sample`. */
export interface SampleOptions extends SamplerStepsOptions {
  /** Samples that go through the model together. Default: all, at most 64. */
  batchSize?: number;
}

export const argumentsSchema = v.strictObject({ diffusion: instance(GaussianDiffusion, 'a GaussianDiffusion') });

export const samplerSchema = v.strictObject({
  method: v.optional(oneOf('ddpm', 'ddim'), 'ddpm'),
  steps: v.optional(integer(1)),
  eta: v.optional(number(0, 1), 0),
  spacing: v.optional(oneOf('article', 'leading', 'linspace', 'trailing'), 'article'),
  shape: v.optional(
    v.custom<readonly [number, number, number]>(
      (value) => Array.isArray(value) && value.length === 3 && value.every((axis) => Number.isSafeInteger(axis) && axis >= 1),
      '[height, width, channels], positive integers',
    ),
  ),
});

const stepsEntries = {
  count: v.optional(integer(1, 2 ** 32)),
  first: v.optional(integer(0, 2 ** 32 - 1), 0),
  seed: v.optional(v.unknown()),
  labels: v.optional(v.unknown()),
  guidance: v.optional(v.literal(1, '1 (off): guidance is not available')),
  signal: v.optional(signal()),
  initial: v.optional(v.unknown()),
  noises: v.optional(v.array(v.unknown(), 'an array of tensors')),
};

export const stepsSchema = v.strictObject(stepsEntries);
export const sampleSchema = v.strictObject({ ...stepsEntries, batchSize: v.optional(integer(1)) });
