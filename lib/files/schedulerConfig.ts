import * as v from 'valibot';
import { betasOfAlphaBar } from '../diffusion/betas.js';
import { NoiseSchedule } from '../diffusion/schedule.js';
import type { FixedVariance, Prediction } from '../diffusion/tables.js';
import { FileFormatError, OptionError } from '../errors.js';
import { boolean, integer, number, oneOf, parseOptions, positive, show } from '../options.js';

/** The diffusion process that a scheduler of diffusers describes, in the words of `GaussianDiffusion`. */
export interface SchedulerProcess {
  schedule: NoiseSchedule;
  prediction: Prediction;
  variance: FixedVariance;
  clipDenoised: boolean;
}

const predictions = { epsilon: 'epsilon', sample: 'sample', v_prediction: 'v' } as const;
const variances = {
  fixed_small: 'fixedSmall',
  fixed_large: 'fixedLarge',
  fixed_small_log: 'fixedSmall',
} as const;
const keysOf = <T extends object>(table: T) => oneOf(...(Object.keys(table) as [keyof T & string]));

const schema = v.object({
  num_train_timesteps: v.optional(integer(1), 1000),
  beta_start: v.optional(positive()),
  beta_end: v.optional(positive()),
  beta_schedule: v.optional(oneOf('linear', 'scaled_linear', 'squaredcos_cap_v2', 'sigmoid', 'laplace', 'exp'), 'linear'),
  trained_betas: v.optional(v.nullable(v.array(number(), 'an array of numbers or null')), null),
  rescale_betas_zero_snr: v.optional(boolean(), false),
  prediction_type: v.optional(keysOf(predictions), 'epsilon'),
  variance_type: v.optional(v.nullable(keysOf(variances)), null),
  clip_sample: v.optional(boolean()),
  clip_sample_range: v.optional(v.literal(1, '1'), 1),
  thresholding: v.optional(v.literal(false, 'false'), false),
});

/**
 * The process of any scheduler's configuration: betas, what the model predicts, variance, clipping. What says how to sample
 * (spacing, solver) is left to samplers.
 * @param source the quoted path, for messages
 * @throws FileFormatError naming the key and the value.
 */
export function processOf(config: unknown, source: string): SchedulerProcess {
  const { _class_name: className = 'DDPMScheduler' } = (config ?? {}) as { _class_name?: unknown };
  try {
    const keys = parseOptions(source, schema, config);
    const clips = className === 'DDPMScheduler' || className === 'DDIMScheduler'; // the others' class has no clip_sample, or not by default
    return {
      schedule: scheduleOf(keys, className === 'HeunDiscreteScheduler' ? [0.00085, 0.012] : [1e-4, 0.02]),
      prediction: predictions[keys.prediction_type],
      variance: variances[keys.variance_type ?? 'fixed_small'],
      clipDenoised: keys.clip_sample ?? clips,
    };
  } catch (cause) {
    if (!(cause instanceof OptionError)) throw cause;
    const message = cause.message.replace(': option ', ': key ');
    throw new FileFormatError(message.startsWith(source) ? message : `${source}: ${message}`, { cause });
  }
}

function scheduleOf(keys: v.InferOutput<typeof schema>, defaults: readonly [number, number]): NoiseSchedule {
  const timesteps = keys.num_train_timesteps;
  const [betaStart, betaEnd] = [keys.beta_start ?? defaults[0], keys.beta_end ?? defaults[1]];
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
export function schedulerConfigOf(owner: string, { schedule, prediction, variance, clipDenoised }: SchedulerProcess): object {
  const { kind, options, zeroTerminalSnr = false, respacing } = schedule.toJSON();
  if (respacing)
    throw new OptionError(`${owner}: option 'schedule' must be one that has not been respaced, got respacing ${show(respacing)}`);
  if (prediction === 'previous')
    throw new OptionError(`${owner}: option 'prediction' must be one of 'epsilon', 'sample', 'v' for diffusers, got 'previous'`);
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
  const nameOf = <T extends string>(table: Record<string, T>, value: T) =>
    Object.keys(table).find((name) => table[name] === value) as string;
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
    thresholding: false,
    dynamic_thresholding_ratio: 0.995,
    clip_sample_range: 1,
    sample_max_value: 1,
    timestep_spacing: 'leading',
    steps_offset: 0,
    rescale_betas_zero_snr: named !== null && zeroTerminalSnr,
  };
}
