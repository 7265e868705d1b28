import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { eachDevice } from '../support/devices.js';
import { isLong } from './long.js';

const script = join(__dirname, '..', 'support', 'fuzz.cjs');

// The long form: 100 000 calls. Here: 10 000. On the emulator 1000 in both. test/lifetime/fuzz.test.ts has other seeds.
const calls: Record<string, [short: number, long: number]> = {
  cpu: [10_000, 100_000],
  emulator: [1000, 1000],
  cuda: [10_000, 100_000],
};

describe('random calls of everything that the addon exports, with handles that are live, stale, foreign or made up', () => {
  eachDevice((id) => {
    const count = (calls[id] as [number, number])[isLong ? 1 : 0];
    test(`${count} of them are errors at most, and what follows is computed right`, () => {
      const { status, signal, stdout, stderr } = spawnSync(process.execPath, [script, '4', String(count), id], {
        encoding: 'utf8',
        timeout: 500_000,
      });
      expect({ status, signal, stderr }).toEqual({ status: 0, signal: null, stderr: '' });
      const { values, good, untried } = JSON.parse(stdout);
      expect(values).toEqual([3, 3, 3]);
      expect(untried).toEqual([]);
      expect(good).toBeGreaterThan(0.1); // not everything is refused
    }, 600_000);
  });
});
