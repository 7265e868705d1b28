import type { Prediction } from '../../diffusion/tables.js';
import { OptionError } from '../../errors.js';

/**
 * Coefficients of one fused reverse step on the model's output m; what is left out is 0:
 * x_0 = px·x + pm·m, clipped; ε = ex·x + e0·x_0; x' = a·x + b·x_0 + c·x_0' + e·x_0'' + f·ε + g·m + σ·z, with x_0' and x_0'' of the
 * evaluations before; σ = d, or by the model: d·exp(v/2), d·exp((lmin + (v + 1)/2·(lmax - lmin))/2).
 */
export interface ReverseRow {
  px: number;
  pm: number;
  ex?: number;
  e0?: number;
  a?: number;
  b?: number;
  c?: number;
  e?: number;
  f?: number;
  g?: number;
  d?: number;
  lmin?: number;
  lmax?: number;
}

/** In the order of the native table. */
const columns = ['px', 'pm', 'ex', 'e0', 'a', 'b', 'c', 'e', 'f', 'g', 'd', 'lmin', 'lmax'] as const;

/** How many numbers a row of the native table has. */
export const rowColumns = columns.length;

/** What a solver does: entry k of each list belongs to the k-th evaluation of the model, from high noise to low. */
export interface Solution {
  /** Steps of the schedule at which the model is evaluated; fractions lie between two of them. */
  timesteps: readonly number[];
  rows: readonly ReverseRow[];
  /** Standard deviation of the first x; 1 where left out. */
  initialScale?: number;
  /** The model gets x times this; x itself where left out. */
  inputScales?: readonly number[];
  /** x + factor·z before the step, and before or after the model has seen x. */
  churn?: { factors: readonly number[]; before: 'model' | 'step' };
  /** How many earlier x_0 the rows use. */
  history?: 0 | 1 | 2;
  /** Rows that give x_0, where "x_0" of `rows` is ε. */
  predictions?: readonly ReverseRow[];
  /** With `predictions`: factors of x and of x_0 in that ε. */
  noises?: readonly Start[];
  /** σ of each evaluation's start, and of the end: of x/√ᾱ. */
  sigmas?: readonly number[];
}

/** The native table in float64, row-major. Throws OptionError when a coefficient is not finite. */
export function packRows(owner: string, rows: readonly ReverseRow[]): Float64Array {
  const table = Float64Array.from(rows.flatMap((row) => columns.map((column) => row[column] ?? 0)));
  const wrong = table.findIndex((value) => !Number.isFinite(Math.fround(value)));
  if (wrong >= 0) {
    const k = Math.floor(wrong / rowColumns);
    throw new OptionError(
      `${owner}: the solver's coefficients at model evaluation ${k + 1} are not finite: two steps have the same noise, ` +
        "or nothing but noise is left where the model predicts 'epsilon'",
    );
  }
  return table;
}

/** Factors of x and of the model's output in x_0. */
export type Start = Pick<ReverseRow, 'px' | 'pm'>;

/** What a model predicts at any noise level; 'previous' is bound to a step. */
export type LevelPrediction = Exclude<Prediction, 'previous'>;

/** x_0 = px·x + pm·output, for x = √ᾱ·x_0 + √(1-ᾱ)·ε. */
export function startFrom(prediction: LevelPrediction, alphaBar: number): Start {
  if (prediction === 'sample') return { px: 0, pm: 1 };
  if (prediction === 'v') return { px: Math.sqrt(alphaBar), pm: -Math.sqrt(1 - alphaBar) };
  return { px: Math.sqrt(1 / alphaBar), pm: -Math.sqrt(1 / alphaBar - 1) };
}

/** ε = x·x_t + output·m = (x_t - √ᾱ·x_0)/√(1-ᾱ), for x_0 as it is predicted, not clipped. */
export function noiseFrom({ px, pm }: Start, alphaBar: number): { x: number; output: number } {
  const [signal, noise] = [Math.sqrt(alphaBar), Math.sqrt(1 - alphaBar)];
  return { x: (1 - signal * px) / noise, output: (-signal * pm) / noise };
}

/** x_0 = px·x + pm·output, for x = x_0 + σ·ε and a model that sees x/√(σ² + 1). */
export function startFromSigma(prediction: LevelPrediction, sigma: number): Start {
  if (prediction === 'sample') return { px: 0, pm: 1 };
  if (prediction === 'epsilon') return { px: 1, pm: -sigma };
  return { px: 1 / (sigma * sigma + 1), pm: -sigma / Math.sqrt(sigma * sigma + 1) };
}
