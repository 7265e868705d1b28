import * as v from 'valibot';
import type { Labels } from '../diffusion/arguments.js';
import { GaussianDiffusion } from '../diffusion/gaussian.js';
import { OptionError } from '../errors.js';
import { boolean, instance, integer, number, oneOf, parseOptions, signal } from '../options.js';
import type { Seed } from '../random.js';
import type { Tensor } from '../tensor.js';

/** Methods of `new Sampler`. */
export type SamplerMethod = 'ddpm' | 'ddim' | 'dpmSolver++' | 'euler' | 'eulerAncestral' | 'heun';

/** Options of `new Sampler`. Those of other methods than the one chosen must be left out. */
export interface SamplerOptions {
  /**
   * 'ddpm': the posterior's mean and its noise (Ho et al. 2020, arXiv 2006.11239, algorithm 2), with a learned variance where the
   * process says so, and with the mean that a model of 'previous' puts out where no step is skipped. 'ddim': Song et al. 2021
   * (arXiv 2010.02502, equation 12). 'dpmSolver++': the multistep solver of Lu et al. 2022 (arXiv 2211.01095). 'euler', 'heun':
   * Karras et al. 2022 (arXiv 2206.00364, algorithm 2, of first and second order). 'eulerAncestral': Euler's method with as much
   * noise added as removed, as k-diffusion. The last three work on x = x_0 + σ·ε: their `initial` and the `x` of their steps are
   * in that scale, up to `initialScale`.
   */
  method?: SamplerMethod;
  /**
   * How many steps. Each is one model evaluation, two with 'heun' but for the last. Default: all steps of the schedule for 'ddpm', 100
   * (or all, if it has fewer) for the others.
   */
  steps?: number;
  /** η of 'ddim', 0 to 1: 0 draws no noise, 1 as much as the posterior. Default 0. */
  eta?: number;
  /**
   * Which steps of the schedule are kept. 'article': round(i·(T-1)/(steps-1)), first and last included; 'leading', 'linspace',
   * 'trailing': as the scheduler of diffusers for the method does; 'karras': noise levels even in σ^(1/7), for methods of σ and λ.
   * Default 'article' for 'ddpm' and 'ddim', 'linspace' for the others.
   */
  spacing?: 'article' | 'leading' | 'linspace' | 'trailing' | 'karras';
  /** [height, width, channels] of the samples; needed where the model is a function and no `initial` is given. */
  shape?: readonly [height: number, width: number, channels: number];
  /** Whether 'ddim' derives ε again from the clipped x_0; false: ε as the model says. Default true, as in improved-diffusion. */
  useClippedModelOutput?: boolean;
  /** Order of 'dpmSolver++', 1 to 3. Default 2. */
  order?: number;
  /** 'dpmSolver++': an ODE, or an SDE with noise in every step. Default 'dpmsolver++'. */
  algorithmType?: 'dpmsolver++' | 'sde-dpmsolver++';
  /** Form of a second-order step of 'dpmSolver++'. Default 'midpoint'. */
  solverType?: 'midpoint' | 'heun';
  /** Whether 'dpmSolver++' with fewer than 15 steps ends by steps of lower order. Default true. */
  lowerOrderFinal?: boolean;
  /** Whether the last step of 'dpmSolver++' is of first order. Default false; that to σ = 0 always is. */
  eulerAtFinal?: boolean;
  /** Steps whose log(α/σ) is below are left out by 'dpmSolver++'; -5.1 for cosine schedules, whose last steps have next to no signal. Default -∞. */
  lambdaMinClipped?: number;
  /** Where 'dpmSolver++', 'euler' and 'eulerAncestral' end: at no noise, or at that of the first step. Default 'zero'. */
  finalSigmasType?: 'zero' | 'sigma_min';
  /** Karras's noise levels over the range of the steps that `spacing` chooses. Default false. */
  useKarrasSigmas?: boolean;
  /** Noise added before steps of 'euler' and 'heun', in all (S_churn). Default 0. */
  sChurn?: number;
  /** Lowest σ that noise is added at. Default 0. */
  sTmin?: number;
  /** Highest σ that noise is added at. Default ∞. */
  sTmax?: number;
  /** Standard deviation of the noise added. Default 1. */
  sNoise?: number;
}

/** Options of `Sampler.steps`. */
export interface SamplerStepsOptions {
  /** How many samples. Default: as many as `initial` holds, else 1. */
  count?: number;
  /** Number of the first sample within the seed. Default 0. */
  first?: number;
  /** Sample k of a seed is the same whatever the batch. Default: a new one for each call. */
  seed?: Seed;
  /** One class a sample, for class-conditional models; -1: no class. */
  labels?: Labels;
  /**
   * Scale g of classifier-free guidance (Ho & Salimans 2022, arXiv 2207.12598), u + g·(c - u) with the output c of the labels and u
   * of no class (-1), both from one evaluation of a batch twice as large. Default 1, which is off.
   */
  guidance?: number;
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

/** A number that is not negative, ∞ too. */
export const nonNegative = (text = 'a number of at least 0') => v.pipe(v.number(text), v.minValue(0, text));

export const samplerSchema = v.strictObject({
  method: v.optional(oneOf('ddpm', 'ddim', 'dpmSolver++', 'euler', 'eulerAncestral', 'heun'), 'ddpm'),
  steps: v.optional(integer(1)),
  eta: v.optional(number(0, 1), 0),
  spacing: v.optional(oneOf('article', 'leading', 'linspace', 'trailing', 'karras')),
  shape: shapeOption(),
  useClippedModelOutput: v.optional(boolean(), true),
  order: v.optional(integer(1, 3), 2),
  algorithmType: v.optional(oneOf('dpmsolver++', 'sde-dpmsolver++'), 'dpmsolver++'),
  solverType: v.optional(oneOf('midpoint', 'heun'), 'midpoint'),
  lowerOrderFinal: v.optional(boolean(), true),
  eulerAtFinal: v.optional(boolean(), false),
  lambdaMinClipped: v.optional(v.number('a number or -Infinity'), Number.NEGATIVE_INFINITY),
  finalSigmasType: v.optional(oneOf('zero', 'sigma_min'), 'zero'),
  useKarrasSigmas: v.optional(boolean(), false),
  sChurn: v.optional(nonNegative(), 0),
  sTmin: v.optional(nonNegative(), 0),
  sTmax: v.optional(nonNegative(), Number.POSITIVE_INFINITY),
  sNoise: v.optional(nonNegative(), 1),
});

/** The options of `new Sampler`, with their defaults but for those that depend on the method. */
export type CheckedOptions = v.InferOutput<typeof samplerSchema>;

const dpm = ['dpmSolver++'];
const ode = ['euler', 'heun'];
const sigma = [...ode, 'eulerAncestral'];

/** Options that only some methods have. */
const methodsOf: Partial<Record<keyof SamplerOptions, readonly string[]>> = {
  eta: ['ddim'],
  useClippedModelOutput: ['ddim'],
  order: dpm,
  algorithmType: dpm,
  solverType: dpm,
  lowerOrderFinal: dpm,
  eulerAtFinal: dpm,
  lambdaMinClipped: dpm,
  finalSigmasType: [...dpm, 'euler', 'eulerAncestral'],
  useKarrasSigmas: [...dpm, ...sigma],
  sChurn: ode,
  sTmin: ode,
  sTmax: ode,
  sNoise: ode,
};

/** Throws OptionError for an option that is unknown, wrong, or of another method. */
export function checkSamplerOptions(owner: string, given: unknown): CheckedOptions {
  const options = parseOptions(owner, samplerSchema, given);
  for (const [name, methods] of Object.entries(methodsOf) as [keyof SamplerOptions, readonly string[]][]) {
    const usual = (samplerSchema.entries[name] as { default?: unknown }).default;
    if (options[name] === usual || methods.includes(options.method)) continue;
    const list = methods.map((method) => `'${method}'`).join(', ');
    throw new OptionError(`${owner}: option '${name}' goes only with method ${list}, got '${options.method}'`);
  }
  return options;
}

/** [height, width, channels], or left out. */
export function shapeOption() {
  return v.optional(
    v.custom<readonly [number, number, number]>(
      (value) => Array.isArray(value) && value.length === 3 && value.every((axis) => Number.isSafeInteger(axis) && axis >= 1),
      '[height, width, channels], positive integers',
    ),
  );
}

const stepsEntries = {
  count: v.optional(integer(1, 2 ** 32)),
  first: v.optional(integer(0, 2 ** 32 - 1), 0),
  seed: v.optional(v.unknown()),
  labels: v.optional(v.unknown()),
  guidance: v.optional(number(), 1),
  signal: v.optional(signal()),
  initial: v.optional(v.unknown()),
  noises: v.optional(v.array(v.unknown(), 'an array of tensors')),
};

export const stepsSchema = v.strictObject(stepsEntries);
export const sampleSchema = v.strictObject({ ...stepsEntries, batchSize: v.optional(integer(1)) });
