import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { findNativeFile } from '../../lib/nativeFiles.js';
import { isLong, note } from './long.js';

const script = join(__dirname, '..', 'support', 'fuzz.cjs');

// The long form: 100 000 calls of each seed. Here fewer. test/lifetime/fuzz.test.ts has other seeds.
const runs = {
  cpu: { seeds: isLong ? [4, 5, 6] : [4], calls: isLong ? 100_000 : 10_000 },
  emulator: { seeds: isLong ? [4, 5, 6, 7, 8, 9, 10, 11] : [4, 5], calls: isLong ? 100_000 : 10_000 },
};

describe.each(Object.entries(runs))('%s', (id, { seeds, calls }) => {
  const missing = findNativeFile(`libdiffusion_${id}.so`) ? '' : '(skipped: not built) ';
  test.skipIf(missing).each(seeds)(
    `${missing}${calls} random calls of all that the addon exports are errors at most, and what follows is right (seed %i)`,
    (seed) => {
      const { status, signal, stdout, stderr } = spawnSync(process.execPath, [script, String(seed), String(calls), id], {
        encoding: 'utf8',
        timeout: 500_000,
      });
      expect({ status, signal, stderr }).toEqual({ status: 0, signal: null, stderr: '' });
      const { values, lost, good, untried } = JSON.parse(stdout);
      // The emulator notices an operand that lies in another one's memory, and is lost as a device with a fault is. Only raw calls with
      // handles of one's own can do that: every public operation writes memory that it has just allocated, a parameter refuses a
      // gradient in its own memory, and a sampler's x, which is written in place, can come back as a model's output only as a whole,
      // which its element-wise step allows (test/samplers/ownMemory.test.ts).
      if (id === 'emulator' && lost) expect(lost).toMatch(/is lost: .*cudaErrorLaunchFailure: kernel /);
      else expect({ values, lost }).toEqual({ values: [3, 3, 3], lost: undefined });
      expect(untried).toEqual([]);
      expect(good).toBeGreaterThan(lost ? 0 : 0.1); // not everything is refused
      note({ calls, good, ...(lost && { lost }) });
    },
    600_000,
  );
});
