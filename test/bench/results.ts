import type { BenchResult, Measurement } from '../../bench/result.js';

/** A spread whose ends lie so far from its middle. */
export const around = (median: number, by = 0) => ({ median, p10: median * (1 - by), p90: median * (1 + by) });

/** A measurement of 10 ms ± 5 % by this package. */
export function measurement(name: string, median = 0.01, by = 0.05): Measurement {
  const ours = { about: 'diffusion-native', seconds: around(median, by), samples: 9 };
  return { suite: 'kernels', name, kind: 'copy', dtype: 'f32', batch: 4, sides: { ours } };
}

/** A result with these parts, else empty. */
export function result(parts: Partial<BenchResult> = {}): BenchResult {
  return {
    benchmark: 'suite',
    format: 1,
    quick: false,
    machine: { cpu: 'a processor', commit: 'abc', device: 'cpu' },
    machineAfter: {},
    threads: 2,
    ceilings: [{ dtype: 'f32', flopsPerSecond: 1e11, bytesPerSecond: 1e10 }],
    measurements: [],
    breakdowns: [],
    overheads: [],
    ...parts,
  };
}
