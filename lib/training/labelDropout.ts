import { philox, uniform } from '../philox.js';
import { streams } from '../random.js';

/** Where in a run labels are dropped. */
export interface LabelDraw {
  /** That a label becomes −1. */
  probability: number;
  /** Of the run. */
  seed: number;
  step: number;
  /** Number of the first sample within its batch. */
  first: number;
}

/**
 * Labels of which each is −1, no class, with some probability, as training for classifier-free guidance wants them (Ho & Salimans
 * 2022). What is drawn depends on seed, step and the sample's number only: the same numbers as the engine's own.
 */
export function dropLabels(labels: Int32Array, { probability, seed, step, first }: LabelDraw): Int32Array {
  if (probability === 0) return labels;
  const key = [seed >>> 0, Math.floor(seed / 2 ** 32)] as const;
  return labels.map((label, i) => {
    const [word] = philox(key, [0, first + i, step, streams.labelDropout]);
    return uniform(word) < probability ? -1 : label;
  });
}
