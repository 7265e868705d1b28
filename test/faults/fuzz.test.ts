import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { times } from './long.js';

// The long form: 100 000 calls. Here: 10 000. test/lifetime/fuzz.test.ts has other seeds.
const calls = times(10_000, 100_000);

test(`${calls} random calls of everything that the addon exports are errors at most, and what follows is right`, () => {
  const script = join(__dirname, '..', 'support', 'fuzz.cjs');
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, [script, '4', String(calls), 'cpu'], {
    encoding: 'utf8',
    timeout: 500_000,
  });
  expect({ status, signal, stderr }).toEqual({ status: 0, signal: null, stderr: '' });
  const { values, good, untried } = JSON.parse(stdout);
  expect(values).toEqual([3, 3, 3]);
  expect(untried).toEqual([]);
  expect(good).toBeGreaterThan(0.1); // not everything is refused
}, 600_000);
