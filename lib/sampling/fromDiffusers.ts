import * as v from 'valibot';
import { Device } from '../device.js';
import { GaussianDiffusion } from '../diffusion/gaussian.js';
import { OptionError } from '../errors.js';
import { parseJson } from '../files/json.js';
import { processOfKeys } from '../files/schedulerConfig.js';
import { type SchedulerKeys, schedulerKeys } from '../files/schedulerKeys.js';
import { boolean, integer, number, oneOf, parseOptions, show } from '../options.js';
import { ddimOfDiffusers, ddpmOfDiffusers } from './diffusers/process.js';
import { dpmOfDiffusers, eulerAncestralOfDiffusers, eulerOfDiffusers, heunOfDiffusers } from './diffusers/sigmas.js';
import { singlePrecision } from './noiseLevels.js';
import { nonNegative, shapeOption } from './options.js';
import { planOf, type SamplerPlan } from './plan.js';
import type { Solution } from './solvers/solution.js';

/** Options of `Sampler.fromDiffusers`: what diffusers takes beside a scheduler's configuration. */
export interface FromDiffusersOptions {
  /** How many steps, as `num_inference_steps`. Default: all for DDPMScheduler, 50 (or all) for the others. */
  steps?: number;
  /** Steps of one's own instead, from high noise to low; with Euler's and Heun's method they may be fractions. */
  timesteps?: readonly number[];
  /** η of DDIMScheduler, 0 to 1. Default 0. */
  eta?: number;
  /** Whether DDIMScheduler derives ε again from the clipped x_0. Default false. */
  useClippedModelOutput?: boolean;
  /** Noise added before steps of EulerDiscreteScheduler, in all. Default 0. */
  sChurn?: number;
  /** Lowest σ that noise is added at. Default 0. */
  sTmin?: number;
  /** Highest σ that noise is added at. Default ∞. */
  sTmax?: number;
  /** Standard deviation of the noise added. Default 1. */
  sNoise?: number;
  /**
   * 'diffusers': the arithmetic of diffusers 0.35, also where it is at fault. 'corrected': each step of DDIM leads to the next one of
   * the list, not to t - T//N; `fixed_large_log` is the variance β; with DPM-Solver exponential noise levels, those of the beta
   * distribution and Karras's of a cosine schedule are evaluated at their own, fractional, steps; D_2 of third-order SDE-DPM-Solver++
   * has its right sign. Default 'corrected'.
   */
  compatibility?: 'corrected' | 'diffusers';
  /** [height, width, channels] of the samples; needed where the model is a function and no `initial` is given. */
  shape?: readonly [height: number, width: number, channels: number];
}

const schema = v.strictObject({
  steps: v.optional(integer(1)),
  timesteps: v.optional(
    v.pipe(
      v.custom<ArrayLike<number>>((value) => Array.isArray(value) || ArrayBuffer.isView(value), 'an array of numbers'),
      v.transform((list) => Array.from(list, Number)),
    ),
  ),
  eta: v.optional(number(0, 1), 0),
  useClippedModelOutput: v.optional(boolean(), false),
  sChurn: v.optional(nonNegative(), 0),
  sTmin: v.optional(nonNegative(), 0),
  sTmax: v.optional(nonNegative(), Number.POSITIVE_INFINITY),
  sNoise: v.optional(nonNegative(), 1),
  compatibility: v.optional(oneOf('corrected', 'diffusers'), 'corrected'),
  shape: shapeOption(),
});

/** What a scheduler is made into. */
export interface DiffusersTask {
  owner: string;
  keys: SchedulerKeys;
  options: Omit<v.InferOutput<typeof schema>, 'steps'> & { steps: number };
  /** ᾱ of the training schedule, in float32 as diffusers has it. */
  alphasCumprod: Float64Array;
  /** Whether faults of diffusers are followed. */
  upstream: boolean;
}

const owner = 'Sampler.fromDiffusers';
const usualSteps = 50;

const solutions: Record<SchedulerKeys['_class_name'], (task: DiffusersTask) => Solution> = {
  DDPMScheduler: ddpmOfDiffusers,
  DDIMScheduler: ddimOfDiffusers,
  DPMSolverMultistepScheduler: dpmOfDiffusers,
  EulerDiscreteScheduler: eulerOfDiffusers,
  EulerAncestralDiscreteScheduler: eulerAncestralOfDiffusers,
  HeunDiscreteScheduler: heunOfDiffusers,
};

/** Options that only some classes have. */
const classesOf = {
  eta: 'DDIMScheduler',
  useClippedModelOutput: 'DDIMScheduler',
  sChurn: 'EulerDiscreteScheduler',
  sTmin: 'EulerDiscreteScheduler',
  sTmax: 'EulerDiscreteScheduler',
  sNoise: 'EulerDiscreteScheduler',
} as const;

/** The process, plan and shape of `Sampler.fromDiffusers`. Throws OptionError, or FileFormatError for text that is no JSON. */
export function planOfDiffusers(
  config: unknown,
  device: Device,
  given: FromDiffusersOptions | undefined,
): { diffusion: GaussianDiffusion; plan: SamplerPlan; shape: FromDiffusersOptions['shape'] } {
  if (!(device instanceof Device)) throw new OptionError(`${owner}: device must be a Device, got ${show(device)}`);
  const keys = schedulerKeys(owner, typeof config === 'string' ? parseJson(config, `${owner}: the configuration`) : config);
  const options = parseOptions(owner, schema, given);
  const name = keys._class_name;
  for (const [option, only] of Object.entries(classesOf) as [keyof typeof classesOf, string][])
    if (options[option] !== schema.entries[option].default && name !== only)
      throw new OptionError(`${owner}: option '${option}' goes only with ${only}, got ${name}`);
  if (options.steps !== undefined && options.timesteps)
    throw new OptionError(`${owner}: give either option 'steps' or option 'timesteps', not both`);
  const { schedule, ...process } = processOfKeys(keys);
  const steps =
    options.timesteps?.length ?? options.steps ?? Math.min(schedule.length, name === 'DDPMScheduler' ? Infinity : usualSteps);
  const upstream = options.compatibility === 'diffusers';
  const task = { owner, keys, options: { ...options, steps }, alphasCumprod: singlePrecision(schedule.betas), upstream };
  const plan = planOf(solutions[name](task), {
    owner,
    originalTimestep: (t) => t,
    modelTimestep: (t) => t,
    variance: process.variance,
    ancestral: name === 'DDPMScheduler',
    fractions: name.startsWith('Euler') || name === 'HeunDiscreteScheduler',
    clip: keys.clip_sample && !keys.thresholding ? keys.clip_sample_range : 0,
    threshold: process.dynamicThreshold ?? null,
  });
  return { diffusion: new GaussianDiffusion(device, schedule, process), plan, shape: options.shape };
}
