import { betasOfAlphaBar } from '../diffusion/betas.js';
import { NoiseSchedule } from '../diffusion/schedule.js';
import type { Prediction, Variance } from '../diffusion/tables.js';
import { FileFormatError, OptionError } from '../errors.js';
import { show } from '../options.js';
import { type SchedulerKeys, schedulerKeys } from './schedulerKeys.js';

/** The diffusion process that a scheduler of diffusers describes, in the words of `GaussianDiffusion`. */
export interface SchedulerProcess {
  schedule: NoiseSchedule;
  prediction: Prediction;
  variance: Variance;
  clipDenoised: boolean;
  dynamicThreshold?: { ratio: number; max: number };
}

const predictions = { epsilon: 'epsilon', sample: 'sample', v_prediction: 'v' } as const;
const variances = {
  fixed_small: 'fixedSmall',
  fixed_small_log: 'fixedSmall',
  fixed_large: 'fixedLarge',
  fixed_large_log: 'fixedLarge',
  learned: 'learned',
  learned_range: 'learnedRange',
} as const;

/**
 * The process of any scheduler's configuration: betas, what the model predicts, variance, clipping. What says how to sample
 * (spacing, solver) is left to samplers.
 * @param source the quoted path, for messages
 * @throws FileFormatError naming the key and the value.
 */
export function processOf(config: unknown, source: string): SchedulerProcess {
  try {
    const keys = schedulerKeys(source, config);
    if (keys.clip_sample && keys.clip_sample_range !== 1)
      throw new OptionError(
        `${source}: key 'clip_sample_range' must be 1 for a process, got ${keys.clip_sample_range}; Sampler.fromDiffusers takes others`,
      );
    return processOfKeys(keys);
  } catch (cause) {
    if (!(cause instanceof OptionError)) throw cause;
    const { message } = cause;
    throw new FileFormatError(message.startsWith(source) ? message : `${source}: ${message}`, { cause });
  }
}

/** The same of a checked configuration, but for `clip_sample_range`. Throws OptionError for betas that are no schedule. */
export function processOfKeys(keys: SchedulerKeys): SchedulerProcess {
  const { thresholding, dynamic_thresholding_ratio: ratio, sample_max_value: max } = keys;
  return {
    schedule: scheduleOf(keys),
    prediction: keys.prediction_type,
    variance: variances[keys.variance_type],
    clipDenoised: keys.clip_sample,
    ...(thresholding && { dynamicThreshold: { ratio, max: Math.max(1, max) } }),
  };
}

function scheduleOf(keys: SchedulerKeys): NoiseSchedule {
  const { num_train_timesteps: timesteps, beta_start: betaStart, beta_end: betaEnd } = keys;
  const make = {
    linear: () => NoiseSchedule.linear({ timesteps, betaStart, betaEnd }),
    scaled_linear: () => NoiseSchedule.scaledLinear({ timesteps, betaStart, betaEnd }),
    sigmoid: () => NoiseSchedule.sigmoid({ timesteps, betaStart, betaEnd }),
    squaredcos_cap_v2: () => NoiseSchedule.cosine({ timesteps }),
    laplace: () => NoiseSchedule.fromBetas(betasOfAlphaBar(timesteps, laplace)),
    exp: () => NoiseSchedule.fromBetas(betasOfAlphaBar(timesteps, (u) => Math.exp(-12 * u))),
  };
  const schedule = keys.trained_betas ? NoiseSchedule.fromBetas(keys.trained_betas) : make[keys.beta_schedule]();
  return keys.rescale_betas_zero_snr ? schedule.rescaleZeroTerminalSnr() : schedule;
}

/** The `laplace` curve of diffusers: √(snr/(1 + snr)) with the logarithm of snr Laplace distributed over u. */
function laplace(u: number): number {
  const snr = Math.exp(-0.5 * Math.sign(0.5 - u) * Math.log(1 - 2 * Math.abs(0.5 - u) + 1e-6));
  return Math.sqrt(snr / (1 + snr));
}

/**
 * The scheduler_config.json of a DDPMScheduler for this process.
 * @throws OptionError for a respaced schedule: diffusers has no such thing; save the schedule that was respaced.
 */
export function schedulerConfigOf(owner: string, process: SchedulerProcess): object {
  const { schedule, prediction, variance, clipDenoised, dynamicThreshold } = process;
  const { kind, options, zeroTerminalSnr = false, respacing } = schedule.toJSON();
  if (respacing)
    throw new OptionError(`${owner}: option 'schedule' must be one that has not been respaced, got respacing ${show(respacing)}`);
  const { timesteps, betaStart = 1e-4, betaEnd = 0.02, rescaled, s, maxBeta } = options as Record<string, number>;
  const scale = rescaled ? 1000 / (timesteps as number) : 1;
  const named = {
    linear: 'linear',
    scaledLinear: 'scaled_linear',
    sigmoid: 'sigmoid',
    cosine: s === 0.008 && maxBeta === 0.999 ? 'squaredcos_cap_v2' : null,
    lucidrainsSigmoid: null,
    betas: null,
  }[kind];
  if (prediction === 'previous')
    throw new OptionError(
      `${owner}: option 'prediction' must be one of 'epsilon', 'sample', 'v', got 'previous', which diffusers does not have`,
    );
  const nameOf = (table: Record<string, string>, value: string) => Object.keys(table).find((name) => table[name] === value);
  return {
    _class_name: 'DDPMScheduler',
    num_train_timesteps: schedule.length,
    beta_start: scale * betaStart,
    beta_end: scale * betaEnd,
    beta_schedule: named ?? 'linear',
    trained_betas: named === null ? Array.from(schedule.betas) : null,
    variance_type: nameOf(variances, variance),
    clip_sample: clipDenoised,
    prediction_type: nameOf(predictions, prediction),
    thresholding: dynamicThreshold !== undefined,
    dynamic_thresholding_ratio: dynamicThreshold?.ratio ?? 0.995,
    clip_sample_range: 1,
    sample_max_value: dynamicThreshold?.max ?? 1,
    timestep_spacing: 'leading',
    steps_offset: 0,
    rescale_betas_zero_snr: named !== null && zeroTerminalSnr,
  };
}
