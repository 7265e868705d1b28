import { Device } from '../device.js';
import { GaussianDiffusion } from '../diffusion/gaussian.js';
import { OptionError } from '../errors.js';
import { parseJson } from '../files/json.js';
import { processOfKeys } from '../files/schedulerConfig.js';
import { type SchedulerKeys, schedulerKeys } from '../files/schedulerKeys.js';
import { parseOptions, show } from '../options.js';
import { type DiffusersTask, type FromDiffusersOptions, fromDiffusersSchema } from './diffusers/options.js';
import { ddimOfDiffusers, ddpmOfDiffusers } from './diffusers/process.js';
import { dpmOfDiffusers, eulerAncestralOfDiffusers, eulerOfDiffusers, heunOfDiffusers } from './diffusers/sigmas.js';
import { singlePrecision } from './noiseLevels.js';
import { planOf, type SamplerPlan } from './plan.js';
import type { Solution } from './solvers/solution.js';

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
  const options = parseOptions(owner, fromDiffusersSchema, given);
  const name = keys._class_name;
  for (const [option, only] of Object.entries(classesOf) as [keyof typeof classesOf, string][])
    if (options[option] !== fromDiffusersSchema.entries[option].default && name !== only)
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
