import * as v from 'valibot';
import { boolean, oneOf, parseOptions } from '../options.js';
import type { Respacing } from './respace.js';

/** What `NoiseSchedule.toJSON` gives: how the schedule was made, and the respacings applied to it, in order. */
export interface ScheduleJson {
  /** The method of `NoiseSchedule` that made it; 'betas': `fromBetas`. */
  kind: 'linear' | 'cosine' | 'scaledLinear' | 'sigmoid' | 'lucidrainsSigmoid' | 'betas';
  /** What that method was given, defaults filled in. */
  options: Record<string, number | boolean | number[]>;
  /** Whether `rescaleZeroTerminalSnr` was called on it, before any respacing. */
  zeroTerminalSnr?: true;
  /** What `respace` was given, in order. */
  respacing?: Respacing[];
}

/** A schedule before any respacing. */
export type ScheduleOrigin = Omit<ScheduleJson, 'respacing'>;

const schema = v.strictObject({
  kind: oneOf('linear', 'cosine', 'scaledLinear', 'sigmoid', 'lucidrainsSigmoid', 'betas'),
  options: v.record(v.string(), v.unknown(), 'an object'),
  zeroTerminalSnr: v.optional(boolean(), false),
  respacing: v.optional(v.array(v.unknown(), 'an array of respacings'), []),
});

/** Checks the form; what is in `options` and `respacing` is checked where it is used. Throws OptionError. */
export function parseScheduleJson(owner: string, json: unknown): v.InferOutput<typeof schema> {
  return parseOptions(owner, schema, json);
}
