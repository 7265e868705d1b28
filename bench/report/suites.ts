import type { Measurement } from '../result.js';

/** The suites as they are called and in the order in which they are shown: what users wait for first. */
export const suites: Record<Measurement['suite'], string> = {
  train: 'Whole networks',
  sample: 'Sampling',
  blocks: 'Blocks',
  kernels: 'Kernels',
};
