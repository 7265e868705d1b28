import * as v from 'valibot';
import { OptionError } from '../errors.js';
import { boolean, integer, number, parseOptions, positive } from '../options.js';
import { cosine } from './cosine.js';

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

/** Options of `NoiseSchedule.lucidrainsSigmoid`. */
export interface LucidrainsSigmoidOptions {
  /** T, the number of steps; 1000. */
  timesteps?: number;
  /** Where the logistic curve begins, before division by `tau`; -3. */
  start?: number;
  /** Where it ends, above `start`; 3. */
  end?: number;
  /** Temperature: the smaller, the steeper; 1. */
  tau?: number;
  /** Upper bound of every beta; 0.999. */
  maxBeta?: number;
}

const timesteps = () => v.optional(integer(1, 1_000_000), 1000);
const betaRange = { timesteps: timesteps(), betaStart: v.optional(positive(), 1e-4), betaEnd: v.optional(positive(), 0.02) };
const unit = 'a number above 0 and at most 1';
const rangeSchema = v.strictObject(betaRange);
const linearSchema = v.strictObject({ ...betaRange, rescaled: v.optional(boolean(), false) });
const maxBeta = () => v.optional(v.pipe(v.number(unit), v.gtValue(0, unit), v.maxValue(1, unit)), 0.999);
const cosineSchema = v.strictObject({ timesteps: timesteps(), s: v.optional(number(0), 0.008), maxBeta: maxBeta() });
const lucidrainsSigmoidSchema = v.strictObject({
  timesteps: timesteps(),
  start: v.optional(number(), -3),
  end: v.optional(number(), 3),
  tau: v.optional(positive(), 1),
  maxBeta: maxBeta(),
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
    const betas = linspace(-6, 6, checked.timesteps).map((u) => (betaEnd - betaStart) * logistic(u) + betaStart);
    return { betas, options: checked };
  },

  cosine(options?: CosineScheduleOptions): BetaCurve {
    const checked = parseOptions('NoiseSchedule.cosine', cosineSchema, options);
    const { timesteps: T, s, maxBeta } = checked;
    const alphaBar = (u: number) => cosine((((u + s) / (1 + s)) * Math.PI) / 2) ** 2;
    return { betas: betasOfAlphaBar(T, alphaBar, maxBeta), options: checked };
  },

  lucidrainsSigmoid(options?: LucidrainsSigmoidOptions): BetaCurve {
    const owner = 'NoiseSchedule.lucidrainsSigmoid';
    const checked = parseOptions(owner, lucidrainsSigmoidSchema, options);
    const { timesteps: T, start, end, tau, maxBeta } = checked;
    if (!(start < end)) throw new OptionError(`${owner}: option 'start' must be below 'end', got ${start} and ${end}`);
    const last = logistic(end / tau);
    const alphaBar = (u: number) => last - logistic((u * (end - start) + start) / tau); // up to a factor, which cancels
    return { betas: betasOfAlphaBar(T, alphaBar, maxBeta), options: checked };
  },
};

/** β_t = min(1 - ᾱ((t+1)/T)/ᾱ(t/T), maxBeta) for t = 0 … T-1. */
export function betasOfAlphaBar(T: number, alphaBar: (u: number) => number, maxBeta = 0.999): Float64Array {
  let before = alphaBar(0);
  return Float64Array.from({ length: T }, (_, t) => {
    const after = alphaBar((t + 1) / T);
    const beta = Math.min(1 - after / before, maxBeta);
    before = after;
    return beta;
  });
}

/**
 * The betas whose √ᾱ are those of `alphasCumprod` shifted and scaled so that the first stays and the last becomes zero
 * (Lin et al. 2023, arXiv 2305.08891, algorithm 1).
 */
export function zeroTerminalSnrBetas(alphasCumprod: Float64Array): Float64Array {
  const roots = alphasCumprod.map(Math.sqrt);
  const first = roots[0] as number;
  const last = roots[roots.length - 1] as number;
  const shifted = roots.map((root) => (((root - last) * first) / (first - last)) ** 2);
  return shifted.map((alphaBar, t) => 1 - alphaBar / (t === 0 ? 1 : (shifted[t - 1] as number)));
}

function logistic(u: number): number {
  return 1 / (1 + Math.exp(-u));
}

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
