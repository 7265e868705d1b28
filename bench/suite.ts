// What a suite is given and gives.
import type { Breakdown, Ceiling, DTypeName, Measurement, Overhead } from './result.js';

/** What every suite is told. */
export interface SuiteContext {
  /** 'cpu', 'cuda' or 'cuda:1' */
  device: string;
  threads: number;
  dtypes: readonly DTypeName[];
  /** Few shapes, few repetitions: all suites together within ten minutes on two cores. */
  quick: boolean;
  /** Whether other engines take part, and the Python that may have PyTorch. */
  peers: boolean;
  python: string;
  /** Only what has this in its name. */
  only: string;
  /** Instead of a suite's own choice. */
  batches?: readonly number[];
  repetitions?: number;
  /** Measured before everything else, one for each element type. */
  ceilings: readonly Ceiling[];
  signal: AbortSignal;
  /** Says how far it is: a part of the suite's cases that are done. */
  progress(done: number, total: number, what: string): void;
}

/** What a suite finds, in the order in which it is found; whoever runs it writes the result file after each. */
export type Found = { measurement: Measurement } | { breakdown: Breakdown } | { overhead: Overhead };

export type Suite = (context: SuiteContext) => AsyncGenerator<Found>;
