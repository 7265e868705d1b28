import { appendFileSync } from 'node:fs';
import { expect } from 'vitest';

/** Whether this is the long form, `npm run test:faults`. */
export const isLong = process.env.DIFFUSION_FAULTS === 'long';

/** How often something is tried: in `npm test`, and in the long form. */
export const times = (short: number, long: number): number => (isLong ? long : short);

/** Keeps what a test counted or measured for scripts/faults.mjs, which reports it. */
export function note(values: Record<string, unknown>): void {
  const file = process.env.DIFFUSION_FAULTS_NOTES;
  if (file) appendFileSync(file, `${JSON.stringify({ test: expect.getState().currentTestName, values })}\n`);
}

/** Numbers in [0, 1) that are the same in each run (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
