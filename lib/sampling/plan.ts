import type { NoiseSchedule } from '../diffusion/schedule.js';
import { noiseColumn, type Prediction, reverseColumns, reverseTable, type Variance } from '../diffusion/tables.js';
import { OptionError } from '../errors.js';
import type { SamplerOptions } from './options.js';

/** The steps of a sampler, from high noise to low, and the rows of coefficients behind them. */
export interface SamplerPlan {
  /** Model evaluations. */
  readonly total: number;
  /** The kept steps; rows of `table` are its steps. */
  readonly schedule: NoiseSchedule;
  /** Rows as `reverseTable` makes them. */
  readonly table: Float64Array;
  /** Row of the k-th evaluation. */
  row(k: number): number;
  /** Which draw the k-th evaluation makes, counted from 0, or null where it adds no noise. */
  draw(k: number): number | null;
  /** How many draws there are in all. */
  readonly draws: number;
}

const ddimSteps = 100;

/** Throws OptionError when the schedule has too few steps or an option does not go with the method. */
export function planSampler(
  schedule: NoiseSchedule,
  { prediction, variance }: { prediction: Prediction; variance: Variance },
  { method, steps, eta, spacing }: Required<Pick<SamplerOptions, 'method' | 'eta' | 'spacing'>> & Pick<SamplerOptions, 'steps'>,
): SamplerPlan {
  if (eta !== 0 && method !== 'ddim')
    throw new OptionError(`new Sampler: option 'eta' goes only with method 'ddim', got '${method}'`);
  const total = steps ?? (method === 'ddpm' ? schedule.length : Math.min(ddimSteps, schedule.length));
  if (total > schedule.length)
    throw new OptionError(
      `new Sampler: option 'steps' must be at most ${schedule.length}, the length of the schedule, got ${total}`,
    );
  const kept = schedule.respace(spacing === 'article' ? total : { steps: total, spacing });
  const table = reverseTable(kept, { prediction, variance, kind: method, eta });
  const row = (k: number) => total - 1 - k;
  let draws = 0;
  const drawOf = Array.from({ length: total }, (_, k) => (table[row(k) * reverseColumns + noiseColumn] === 0 ? null : draws++));
  return { total, schedule: kept, table, row, draw: (k) => drawOf[k] ?? null, draws };
}
