import * as v from 'valibot';
import type { SchedulerKeys } from '../../files/schedulerKeys.js';
import { boolean, integer, number, oneOf } from '../../options.js';
import { nonNegative, shapeOption } from '../options.js';

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

/** What `FromDiffusersOptions` may hold. */
export const fromDiffusersSchema = v.strictObject({
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
  options: Omit<v.InferOutput<typeof fromDiffusersSchema>, 'steps'> & { steps: number };
  /** ᾱ of the training schedule, in float32 as diffusers has it. */
  alphasCumprod: Float64Array;
  /** Whether faults of diffusers are followed. */
  upstream: boolean;
}
