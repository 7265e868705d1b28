import { OptionError } from '../errors.js';
import type { NoiseSchedule } from './schedule.js';

/**
 * What a network outputs: the noise ε, the image x_0, v = √ᾱ·ε - √(1-ᾱ)·x_0 (Salimans & Ho 2022, arXiv 2202.00512), or 'previous',
 * the mean of x_{t-1}.
 */
export type Prediction = 'epsilon' | 'sample' | 'v' | 'previous';

/** What a network can be trained to output by the noising alone. */
export type DirectPrediction = Exclude<Prediction, 'previous'>;

/** A reverse variance that depends on the step alone: β̃_t (fixedSmall) or β_t (fixedLarge; β̃_1 in place of β_0). */
export type FixedVariance = 'fixedSmall' | 'fixedLarge';

/**
 * The variance of a reverse step: one that depends on the step alone, or one that the model puts out, one value an element, in as
 * many channels again behind its prediction. 'learned': its logarithm; 'learnedRange': v in [-1, 1], from log β̃_t to log β_t
 * (Nichol & Dhariwal 2021, arXiv 2102.09672, eq. 15).
 */
export type Variance = FixedVariance | 'learned' | 'learnedRange';

/** Whether the model puts out the variance. */
export function isLearned(variance: Variance): variance is 'learned' | 'learnedRange' {
  return variance === 'learned' || variance === 'learnedRange';
}

/** How a kernel comes by the variance: from the table, or from the model's output, as its logarithm or as a place within a range. */
export type VarianceKind = 'fixed' | 'learned' | 'learnedRange';

/** How a kernel comes by this variance. */
export function varianceKind(variance: Variance): VarianceKind {
  return isLearned(variance) ? variance : 'fixed';
}

/** Columns of a row of `reverseTable`, as the native `reverseStep` reads them. */
export const reverseColumns = 13;

/** The column of the factor of the noise: a row draws none where it is 0. */
export const noiseColumn = 10;

/** Which step a reverse table makes. */
export interface ReverseTableOptions {
  prediction: Prediction;
  /** Of the noise of 'ddpm'. */
  variance: Variance;
  /**
   * 'ddpm': mean + σ·z; 'mean': the same without noise; 'ddim': towards the step before, with `eta`; 'ddimReverse': towards the
   * step after, without noise.
   */
  kind: 'ddpm' | 'mean' | 'ddim' | 'ddimReverse';
  /** η of DDIM: 0 draws no noise, 1 the posterior's; 0. */
  eta?: number;
}

/**
 * Rows [T, 13] of (px, pm, ex, e0, a, b, c, e, f, g, d, lmin, lmax) in float64, row-major, for every step of a schedule:
 * x̂_0 = clip(px·x + pm·output), ε = ex·x + e0·x̂_0, x' = a·x + b·x̂_0 + f·ε + g·output + σ·z (c and e, of earlier steps, are 0).
 * σ is d, or d·exp(½ log variance) with the logarithm put out by the model, for 'learnedRange' between lmin and lmax.
 * 'ddpm': Ho et al. 2020, eq. 7; 'ddim': Song et al. 2021 (arXiv 2010.02502), eq. 12 and 16, with ᾱ = 1 before the first step
 * and ᾱ = 0 after the last one, as in improved-diffusion. No row adds noise at t = 0.
 * @throws OptionError when x̂_0 cannot be had from the output because the schedule ends in pure noise (ᾱ = 0).
 */
export function reverseTable(
  schedule: NoiseSchedule,
  { prediction, variance, kind, eta = 0 }: ReverseTableOptions,
): Float64Array {
  const [logSmall, logLarge] = logVarianceRange(schedule);
  const logVariance = isLearned(variance) ? null : logVarianceTable(schedule, variance);
  const rows = new Float64Array(schedule.length * reverseColumns);
  for (let t = 0; t < schedule.length; t++) {
    const [px, pm, ex, e0] = startCoefficients(schedule, prediction, t);
    let [a, b, f, g, d] = [0, 0, 0, 0, 0];
    if (kind === 'ddim' || kind === 'ddimReverse') {
      const target = kind === 'ddim' ? at(schedule.alphasCumprodPrev, t) : (schedule.alphasCumprod[t + 1] ?? 0);
      // β̃_t = (1-ᾱ_{t-1})/(1-ᾱ_t) · (1-ᾱ_t/ᾱ_{t-1}), the σ² of DDIM at η = 1
      const sigma2 = kind === 'ddim' ? eta * eta * at(schedule.posteriorVariance, t) : 0;
      b = Math.sqrt(target);
      f = Math.sqrt(Math.max(0, 1 - target - sigma2));
      d = Math.sqrt(sigma2); // 0 at t = 0, where β̃ is 0
    } else {
      if (prediction === 'previous') g = 1;
      else [a, b] = [at(schedule.posteriorMeanCoef2, t), at(schedule.posteriorMeanCoef1, t)];
      if (kind === 'ddpm' && t > 0) d = logVariance ? Math.exp(0.5 * at(logVariance, t)) : 1;
    }
    rows.set([px, pm, ex, e0, a, b, 0, 0, f, g, d, at(logSmall, t), at(logLarge, t)], t * reverseColumns);
  }
  return rows;
}

/** Columns of a row of `boundTable`, as the native `variationalBound` reads them. */
export const boundColumns = 9;

/**
 * Rows [T, 9] of (px, pm, ex, e0, c1, c2, lq, lmin, lmax) in float64, row-major: x̂_0 = clip(px·x_t + pm·output),
 * ε = ex·x_t + e0·x̂_0, the means c1·x_0 + c2·x_t of q(x_{t-1} | x_t, x_0) and, with x̂_0, of the model, the logarithm of the
 * posterior's variance, and that of the model's: lmin where it is fixed, else between lmin and lmax.
 */
export function boundTable(
  schedule: NoiseSchedule,
  { prediction, variance }: Pick<ReverseTableOptions, 'prediction' | 'variance'>,
): Float64Array {
  const [logSmall, logLarge] = logVarianceRange(schedule);
  const lowest = isLearned(variance) ? logSmall : logVarianceTable(schedule, variance);
  const rows = new Float64Array(schedule.length * boundColumns);
  for (let t = 0; t < schedule.length; t++) {
    const means = [at(schedule.posteriorMeanCoef1, t), at(schedule.posteriorMeanCoef2, t)];
    const logarithms = [at(schedule.posteriorLogVarianceClipped, t), at(lowest, t), at(logLarge, t)];
    rows.set([...startCoefficients(schedule, prediction, t), ...means, ...logarithms], t * boundColumns);
  }
  return rows;
}

/** Factors (px, pm, ex, e0) with x_0 = px·x_t + pm·output and ε = ex·x_t + e0·x_0. */
function startCoefficients(
  schedule: NoiseSchedule,
  prediction: Prediction,
  t: number,
): [px: number, pm: number, ex: number, e0: number] {
  const alphaBar = at(schedule.alphasCumprod, t);
  const ex = 1 / Math.sqrt(1 - alphaBar);
  const e0 = -Math.sqrt(alphaBar) * ex;
  if (prediction === 'sample') return [0, 1, ex, e0];
  if (prediction === 'v') return [Math.sqrt(alphaBar), -Math.sqrt(1 - alphaBar), ex, e0];
  const coef1 = at(schedule.posteriorMeanCoef1, t);
  const coef2 = at(schedule.posteriorMeanCoef2, t);
  const [px, pm] =
    prediction === 'epsilon' ? [Math.sqrt(1 / alphaBar), -Math.sqrt(1 / alphaBar - 1)] : [-coef2 / coef1, 1 / coef1];
  if (![px, pm].every((factor) => Number.isFinite(Math.fround(factor))))
    throw new OptionError(
      `GaussianDiffusion: with prediction '${prediction}', x_0 is lost at step ${t}, where the schedule's alphasCumprod is ` +
        `${alphaBar}; use prediction 'sample' or 'v', or betas below 1`,
    );
  return [px, pm, ex, e0];
}

/** Rows [T, 2] of (√ᾱ, √(1-ᾱ)): x_t = √ᾱ·x_0 + √(1-ᾱ)·ε. */
export function signalTable(schedule: NoiseSchedule): Float64Array {
  return pairs(schedule, (t) => [Math.sqrt(at(schedule.alphasCumprod, t)), Math.sqrt(1 - at(schedule.alphasCumprod, t))]);
}

/** Rows [T, 2] of (√(1-β), √β): x_t = √(1-β_t)·x_{t-1} + √β_t·ε. */
export function forwardStepTable(schedule: NoiseSchedule): Float64Array {
  return pairs(schedule, (t) => [Math.sqrt(1 - at(schedule.betas, t)), Math.sqrt(at(schedule.betas, t))]);
}

/** Rows [T, 2] of the factors of x_0 and x_t in the posterior mean. */
export function posteriorTable(schedule: NoiseSchedule): Float64Array {
  return pairs(schedule, (t) => [at(schedule.posteriorMeanCoef1, t), at(schedule.posteriorMeanCoef2, t)]);
}

/** The reverse variance of every step. */
export function varianceTable(schedule: NoiseSchedule, variance: FixedVariance): Float64Array {
  if (variance === 'fixedSmall') return schedule.posteriorVariance;
  const large = schedule.betas.slice();
  if (large.length > 1) large[0] = at(schedule.posteriorVariance, 1);
  return large;
}

/** The logarithm of the reverse variance of every step; where fixedSmall is 0, at t = 0, that of the next step. */
export function logVarianceTable(schedule: NoiseSchedule, variance: FixedVariance): Float64Array {
  if (variance === 'fixedSmall') return schedule.posteriorLogVarianceClipped;
  return varianceTable(schedule, variance).map(Math.log);
}

/** Logarithms of the variances between which 'learnedRange' lies, [T] each: β̃_t (at t = 0 that of the next step) and β_t. */
export function logVarianceRange(schedule: NoiseSchedule): [small: Float64Array, large: Float64Array] {
  return [schedule.posteriorLogVarianceClipped, schedule.betas.map(Math.log)];
}

/** The steps that a model is given, [T]: the original ones, or scaled to [0, 1000) as fractions when `rescale` is set. */
export function modelTimesteps(schedule: NoiseSchedule, rescale: boolean): Int32Array | Float32Array {
  if (!rescale) return schedule.timesteps;
  return Float32Array.from(schedule.timesteps, (t) => t * (1000 / schedule.originalTimesteps));
}

function pairs(schedule: NoiseSchedule, pair: (t: number) => [number, number]): Float64Array {
  return Float64Array.from(Array.from({ length: schedule.length }, (_, t) => pair(t)).flat());
}

function at(values: Float64Array, t: number): number {
  return values[t] as number;
}
