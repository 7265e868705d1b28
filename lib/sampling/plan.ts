import { type Variance, type VarianceKind, varianceKind } from '../diffusion/tables.js';
import type { SamplerOptions } from './options.js';
import { packRows, type Solution } from './solvers/solution.js';

/** How a predicted x_0 is bounded; `clip` 0: not at all. With `threshold` each sample has a bound of its own, and `clip` is 0. */
export interface Bounds {
  clip: number;
  threshold: { ratio: number; max: number } | null;
}

/** The evaluations of a sampler, from high noise to low, and the coefficients of the step after each. */
export interface SamplerPlan extends Bounds {
  /** Model evaluations. */
  readonly total: number;
  /** The original step of each; fractions lie between two steps. */
  readonly timesteps: Int32Array | Float32Array;
  /** What the model is given: the same, or scaled. */
  readonly modelTimesteps: Int32Array | Float32Array;
  /** Rows of `reverseStep`, one an evaluation. */
  readonly table: Float64Array;
  /** Where x_0 is changed before the step: rows that give it, and for the next x what the step takes of the output itself. */
  readonly outputs: Float64Array;
  /** The rows after those, and after `predictions`: x_0 stands in place of the output, and what was taken of the output in place of an earlier x_0. */
  readonly denoised: Float64Array;
  /** Rows (factor, 0) of x for the model; null: x itself. */
  readonly inputs: Float64Array | null;
  /** Rows (1, factor) of x and the noise added before a step; null: none. */
  readonly churn: { rows: Float64Array; before: 'model' | 'step' } | null;
  /** Rows like those of `table` that give x_0, where those give ε; null where they give x_0. */
  readonly predictions: Float64Array | null;
  /** Earlier predictions that the steps use. */
  readonly history: 0 | 1 | 2;
  /** Standard deviation of the first x. */
  readonly initialScale: number;
  /** σ of each step's start, and of the end; null for methods that do not have them. */
  readonly sigmas: Float64Array | null;
  /** What the model puts out besides its prediction: where that is learned, as many channels again. */
  readonly modelVariance: Variance;
  /** Where the variance of a step comes from. */
  readonly variance: VarianceKind;
  /** Which draw the k-th evaluation makes, counted from 0, or null where it adds no noise. */
  draw(k: number): number | null;
  /** How many draws there are in all. */
  readonly draws: number;
}

/** What a plan needs to know besides the solution. */
export interface PlanContext extends Bounds {
  /** Named in errors. */
  owner: string;
  /** The original step of a solution's. */
  originalTimestep: (t: number) => number;
  /** What the model is given for an original step. */
  modelTimestep: (t: number) => number;
  /** That of the process. */
  variance: Variance;
  /** Whether steps use the process's variance. */
  ancestral: boolean;
  /** Whether the model's steps are always given as f32, being fractions in general. */
  fractions: boolean;
}

/** Throws OptionError when a coefficient is not finite. */
export function planOf(solution: Solution, context: PlanContext): SamplerPlan {
  const { originalTimestep, modelTimestep, variance, ancestral, fractions, owner, clip, threshold } = context;
  const { rows, churn, predictions, noises, inputScales } = solution;
  const original = solution.timesteps.map(originalTimestep);
  let draws = 0;
  const drawOf = rows.map(({ d = 0 }, k) => (d === 0 && !churn?.factors[k] ? null : draws++));
  return {
    clip,
    threshold,
    modelVariance: variance,
    total: rows.length,
    timesteps: listOf(original, fractions),
    modelTimesteps: listOf(original.map(modelTimestep), fractions || modelTimestep(1) !== 1),
    table: packRows(owner, rows),
    inputs: inputScales ? pairs(inputScales, (scale) => [scale, 0]) : null,
    churn: churn ? { rows: pairs(churn.factors, (factor) => [1, factor]), before: churn.before } : null,
    predictions: predictions ? packRows(owner, predictions) : null,
    outputs: packRows(
      owner,
      rows.map(({ px, pm, g = 0 }) => ({ px, pm, g })),
    ),
    denoised: packRows(
      owner,
      rows.map((row, k) => ({ ...row, ...(noises?.[k] ?? { px: 0, pm: 1 }), ...(row.g && { g: 0, c: 1 }) })),
    ),
    history: solution.history ?? 0,
    initialScale: solution.initialScale ?? 1,
    sigmas: solution.sigmas ? Float64Array.from(solution.sigmas) : null,
    variance: ancestral ? varianceKind(variance) : 'fixed',
    draw: (k) => drawOf[k] ?? null,
    draws,
  };
}

/** i32 where every value is whole, unless fractions are to be expected. */
function listOf(values: readonly number[], fractions: boolean): Int32Array | Float32Array {
  return !fractions && values.every(Number.isInteger) ? Int32Array.from(values) : Float32Array.from(values);
}

function pairs<T>(values: readonly T[], pair: (value: T) => readonly [number, number]): Float64Array {
  return Float64Array.from(values.flatMap((value) => pair(value)));
}

/** A plan in place of the options of a sampler. */
export class MadePlan {
  constructor(
    readonly plan: SamplerPlan,
    readonly shape: SamplerOptions['shape'],
  ) {}
}
