import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const calls = 5000;
const seeds = [1, 2, 3];

test.each(seeds)(
  'random calls of everything that the addon exports are errors at most (seed %i)',
  async (seed) => {
    const script = join(__dirname, '..', 'support', 'fuzz.cjs');
    const { failure, output } = await new Promise<{ failure: string | null; output: string }>((resolve) =>
      execFile(process.execPath, [script, String(seed), String(calls)], (error, stdout, stderr) =>
        resolve({ failure: error ? `${error.signal ?? error.code}: ${stderr}` : null, output: stdout }),
      ),
    );
    expect(failure).toBeNull();
    const { values, good, untried } = JSON.parse(output);
    expect(values).toEqual([3, 3, 3]); // a device of its own works
    expect(untried).toEqual([]);
    expect(good).toBeGreaterThan(0.1); // not everything is refused
  },
  60_000,
);
