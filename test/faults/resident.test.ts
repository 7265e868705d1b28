import { join } from 'node:path';
import { expect, test } from 'vitest';
import { temporaryFolder } from '../support/temporaryFolder.js';
import { note, times } from './long.js';
import { train } from './trainee.js';

// The long form: 10 000 steps. Here: 1000.
const steps = times(1000, 10_000);
/**
 * V8 lets its own heap grow to some 30 MB more over thousands of steps, whatever it holds. So that this hides no leak, it collects
 * every hundred steps here and keeps its young generation small.
 */
const flags = ['--expose-gc', '--max-semi-space-size=1'];
/** A lost tensor or command a step would be more. */
const slack = 8e6;

test(`the resident memory of ${steps} steps stays where it was after the first hundred`, async () => {
  const run = train(join(temporaryFolder(), 'run'), steps, steps / 4, flags);
  expect(await run.ended, run.errors()).toBe(0);
  const sizes = run.said.flatMap(({ rss }) => (rss === undefined ? [] : [rss]));
  expect(sizes.length).toBe(steps / 100);
  const [first, ...others] = sizes as [number, ...number[]];
  const largest = Math.max(...others);
  note({ steps, residentAfter100: first, residentAtMost: largest });
  console.log(`${(first / 1e6).toFixed(1)} MB after 100 steps, then at most ${(largest / 1e6).toFixed(1)} MB`);
  expect(largest - first).toBeLessThan(slack);
}, 1_200_000);
