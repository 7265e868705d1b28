import * as v from 'valibot';
import { OptionError } from '../errors.js';
import { boolean, integer, number, oneOf, parseOptions, positive, show } from '../options.js';

const predictions = { epsilon: 'epsilon', sample: 'sample', v_prediction: 'v', original_sample: 'sample' } as const;
const variances = ['fixed_small', 'fixed_small_log', 'fixed_large', 'fixed_large_log', 'learned', 'learned_range'] as const;
const algorithms = ['dpmsolver++', 'sde-dpmsolver++', 'dpmsolver', 'sde-dpmsolver'] as const;
const never = (why: string) => v.optional(v.literal(false, `false: ${why}`), false);
const off = () => v.optional(boolean(), false);

/** Every key that is read, with the default of most classes. */
const entries = {
  num_train_timesteps: v.optional(integer(1, 1_000_000), 1000),
  beta_start: v.optional(positive(), 1e-4),
  beta_end: v.optional(positive(), 0.02),
  beta_schedule: v.optional(oneOf('linear', 'scaled_linear', 'squaredcos_cap_v2', 'sigmoid', 'laplace', 'exp'), 'linear'),
  trained_betas: v.optional(v.array(number(), 'an array of numbers or null')),
  rescale_betas_zero_snr: off(),
  prediction_type: v.pipe(
    v.optional(oneOf('epsilon', 'sample', 'v_prediction', 'original_sample'), 'epsilon'),
    v.transform((name) => predictions[name]),
  ),
  timestep_spacing: v.optional(oneOf('leading', 'linspace', 'trailing'), 'linspace'),
  steps_offset: v.optional(integer(0), 0),
  variance_type: v.optional(oneOf(...variances), 'fixed_small'),
  clip_sample: off(),
  clip_sample_range: v.optional(positive(), 1),
  thresholding: off(),
  dynamic_thresholding_ratio: v.optional(number(0, 1), 0.995),
  sample_max_value: v.optional(positive(), 1),
  set_alpha_to_one: v.optional(boolean(), true),
  solver_order: v.optional(integer(1, 3), 2),
  algorithm_type: v.optional(oneOf(...algorithms, 'deis'), 'dpmsolver++'),
  solver_type: v.optional(oneOf('midpoint', 'heun', 'logrho', 'bh1', 'bh2'), 'midpoint'),
  lower_order_final: v.optional(boolean(), true),
  euler_at_final: off(),
  use_karras_sigmas: off(),
  use_exponential_sigmas: off(),
  use_beta_sigmas: off(),
  use_lu_lambdas: off(),
  use_flow_sigmas: never('flow matching is not available'),
  use_dynamic_shifting: never('flow matching is not available'),
  final_sigmas_type: v.optional(oneOf('zero', 'sigma_min')),
  lambda_min_clipped: v.optional(v.number('a number or -Infinity'), Number.NEGATIVE_INFINITY),
  interpolation_type: v.optional(oneOf('linear', 'log_linear'), 'linear'),
  timestep_type: v.optional(oneOf('discrete', 'continuous'), 'discrete'),
  sigma_min: v.optional(positive()),
  sigma_max: v.optional(positive()),
};

type Key = keyof typeof entries;

const schedule = ['num_train_timesteps', 'beta_start', 'beta_end', 'beta_schedule', 'trained_betas'] as const;
const common = [...schedule, 'prediction_type', 'timestep_spacing', 'steps_offset'] as const;
const thresholds = ['thresholding', 'dynamic_thresholding_ratio', 'sample_max_value'] as const;
const clips = ['clip_sample', 'clip_sample_range'] as const;
const sigmas = ['use_karras_sigmas', 'use_exponential_sigmas', 'use_beta_sigmas'] as const;
const solver = [
  'solver_order',
  'algorithm_type',
  'solver_type',
  'lower_order_final',
  'euler_at_final',
  'lambda_min_clipped',
] as const;
const flows = ['use_lu_lambdas', 'use_flow_sigmas', 'use_dynamic_shifting'] as const;

/** The keys that each class has, and its own defaults. */
const classes = {
  DDPMScheduler: {
    keys: [...common, ...thresholds, ...clips, 'variance_type', 'rescale_betas_zero_snr'],
    defaults: { clip_sample: true, timestep_spacing: 'leading' },
  },
  DDIMScheduler: {
    keys: [...common, ...thresholds, ...clips, 'set_alpha_to_one', 'rescale_betas_zero_snr'],
    defaults: { clip_sample: true, timestep_spacing: 'leading' },
  },
  DPMSolverMultistepScheduler: {
    keys: [
      ...common,
      ...thresholds,
      ...solver,
      ...sigmas,
      ...flows,
      'final_sigmas_type',
      'variance_type',
      'rescale_betas_zero_snr',
    ],
    defaults: {},
  },
  EulerDiscreteScheduler: {
    keys: [
      ...[...common, ...sigmas, 'interpolation_type', 'timestep_type', 'sigma_min', 'sigma_max'],
      ...['final_sigmas_type', 'rescale_betas_zero_snr'],
    ],
    defaults: {},
  },
  EulerAncestralDiscreteScheduler: { keys: [...common, 'rescale_betas_zero_snr'], defaults: {} },
  HeunDiscreteScheduler: { keys: [...common, ...clips, ...sigmas], defaults: { beta_start: 0.00085, beta_end: 0.012 } },
} as const satisfies Record<string, { keys: readonly string[]; defaults: Partial<Record<Key, unknown>> }>;

/** A scheduler of diffusers that can be sampled with. */
export type SchedulerClass = keyof typeof classes;

/** A checked configuration: the keys of its class, and of the others the defaults. */
export type SchedulerKeys = v.InferOutput<v.ObjectSchema<typeof entries, undefined>> & { _class_name: SchedulerClass };

/**
 * Reads a scheduler's configuration as its class does: unknown keys and those of other classes are passed over, missing ones and
 * null take the class's default; infinite numbers may be texts, '-inf'.
 * @throws OptionError naming the key and the value.
 */
export function schedulerKeys(owner: string, config: unknown): SchedulerKeys {
  if (config === null || typeof config !== 'object' || Array.isArray(config))
    throw new OptionError(`${owner}: the scheduler's configuration must be an object, got ${show(config)}`);
  const { _class_name: name = 'DDPMScheduler' } = config as { _class_name?: unknown };
  if (typeof name !== 'string' || !Object.hasOwn(classes, name)) {
    const known = Object.keys(classes).join(', ');
    throw new OptionError(`${owner}: key '_class_name' must be one of ${known}, got ${show(name)}`);
  }
  const { keys, defaults } = classes[name as SchedulerClass];
  const given = keys.map((key) => [key, infinite((config as Record<string, unknown>)[key])]).filter(([, value]) => value != null);
  try {
    const parsed = parseOptions(owner, v.object(entries), { ...defaults, ...Object.fromEntries(given) });
    return { ...parsed, _class_name: name as SchedulerClass };
  } catch (error) {
    if (error instanceof OptionError) error.message = error.message.replace(': option ', ': key ');
    throw error;
  }
}

/** A number where Python's `str` wrote one that JSON does not know. */
function infinite(value: unknown): unknown {
  const text = typeof value === 'string' ? /^([+-]?)(?:inf|infinity)$/i.exec(value) : null;
  if (text) return text[1] === '-' ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  return typeof value === 'string' && /^nan$/i.test(value) ? Number.NaN : value;
}
