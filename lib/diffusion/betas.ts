import * as v from 'valibot';
import { OptionError } from '../errors.js';
import { boolean, integer, number, parseOptions, positive } from '../options.js';

/** Options of `NoiseSchedule.linear`: betas evenly spaced from `betaStart` to `betaEnd`. */
export interface LinearScheduleOptions {
  /** T, the number of steps; 1000. */
  timesteps?: number;
  /** First beta; 1e-4. */
  betaStart?: number;
  /** Last beta; 0.02. */
  betaEnd?: number;
  /** Multiply both ends by 1000/T, as improved-diffusion does; false. */
  rescaled?: boolean;
}

/** Options of `NoiseSchedule.scaledLinear` and `NoiseSchedule.sigmoid`. */
export type BetaRangeOptions = Omit<LinearScheduleOptions, 'rescaled'>;

/** Options of `NoiseSchedule.cosine`. */
export interface CosineScheduleOptions {
  /** T, the number of steps; 1000. */
  timesteps?: number;
  /** Offset that keeps the first betas from vanishing; 0.008. */
  s?: number;
  /** Upper bound of every beta; 0.999. */
  maxBeta?: number;
}

const timesteps = () => v.optional(integer(1, 1_000_000), 1000);
const betaRange = { timesteps: timesteps(), betaStart: v.optional(positive(), 1e-4), betaEnd: v.optional(positive(), 0.02) };
const unit = 'a number above 0 and at most 1';
const rangeSchema = v.strictObject(betaRange);
const linearSchema = v.strictObject({ ...betaRange, rescaled: v.optional(boolean(), false) });
const cosineSchema = v.strictObject({
  timesteps: timesteps(),
  s: v.optional(number(0), 0.008),
  maxBeta: v.optional(v.pipe(v.number(unit), v.gtValue(0, unit), v.maxValue(1, unit)), 0.999),
});
/** A curve of betas, and the options behind it with their defaults filled in. */
export interface BetaCurve {
  betas: Float64Array;
  options: Record<string, number | boolean>;
}

/** The curves by name; each throws OptionError for an unknown or invalid option. */
export const betaCurves = {
  linear(options?: LinearScheduleOptions): BetaCurve {
    const checked = parseOptions('NoiseSchedule.linear', linearSchema, options);
    const scale = checked.rescaled ? 1000 / checked.timesteps : 1;
    return { betas: linspace(scale * checked.betaStart, scale * checked.betaEnd, checked.timesteps), options: checked };
  },

  scaledLinear(options?: BetaRangeOptions): BetaCurve {
    const checked = parseOptions('NoiseSchedule.scaledLinear', rangeSchema, options);
    const roots = linspace(Math.sqrt(checked.betaStart), Math.sqrt(checked.betaEnd), checked.timesteps);
    return { betas: roots.map((root) => root * root), options: checked };
  },

  sigmoid(options?: BetaRangeOptions): BetaCurve {
    const checked = parseOptions('NoiseSchedule.sigmoid', rangeSchema, options);
    const { betaStart, betaEnd } = checked;
    const betas = linspace(-6, 6, checked.timesteps).map((u) => (betaEnd - betaStart) / (1 + Math.exp(-u)) + betaStart);
    return { betas, options: checked };
  },

  cosine(options?: CosineScheduleOptions): BetaCurve {
    const checked = parseOptions('NoiseSchedule.cosine', cosineSchema, options);
    const { timesteps: T, s, maxBeta } = checked;
    const alphaBar = (u: number) => Math.cos((((u + s) / (1 + s)) * Math.PI) / 2) ** 2;
    const betas = Float64Array.from({ length: T }, (_, t) => Math.min(1 - alphaBar((t + 1) / T) / alphaBar(t / T), maxBeta));
    return { betas, options: checked };
  },
};

/** `count` evenly spaced values, rounded as numpy.linspace rounds them; the last is exactly `stop`. */
function linspace(start: number, stop: number, count: number): Float64Array {
  const step = (stop - start) / (count - 1);
  return Float64Array.from({ length: count }, (_, i) => (i === 0 ? start : i === count - 1 ? stop : i * step + start));
}

/** Throws OptionError unless every beta lies in (0, 1]. */
export function checkBetas(betas: Float64Array, owner: string): void {
  if (betas.length === 0) throw new OptionError(`${owner}: betas must hold at least one value, got none`);
  // A beta so small that 1 - beta rounds to 1 would leave 0/0 in the posterior.
  const t = betas.findIndex((beta) => !(1 - beta < 1 && beta <= 1));
  if (t >= 0) throw new OptionError(`${owner}: every beta must lie in (0, 1], got betas[${t}] = ${betas[t]}`);
}
