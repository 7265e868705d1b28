import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Overhead } from '../result.js';
import { spread } from '../statistics.js';
import type { SuiteContext } from '../suite.js';

const start = promisify(execFile);

/** The package's entry, seen from dist/bench/overhead. */
const entry = join(__dirname, '..', '..', 'index.js');

/** Milliseconds of `require('diffusion-native')` in a process of its own, without the start of Node.js. */
export async function importing({ quick, signal }: SuiteContext): Promise<Overhead[]> {
  const program = `const start = performance.now(); require(${JSON.stringify(entry)}); console.log(performance.now() - start);`;
  const samples: number[] = [];
  for (let i = 0; i < (quick ? 3 : 10); i++) {
    const { stdout } = await start(process.execPath, ['-e', program], { signal });
    samples.push(Number(stdout));
  }
  return [{ name: 'importing the package', unit: 'ms', value: spread(samples) }];
}

/** Milliseconds from the start of a process to an image of a small network in its memory. */
export async function firstSample({ quick, device, threads, signal }: SuiteContext): Promise<Overhead[]> {
  const program = join(__dirname, 'firstSample.js');
  const samples: number[] = [];
  for (let i = 0; i < (quick ? 2 : 5); i++) {
    const began = Date.now();
    const { stdout } = await start(process.execPath, [program, device, String(threads)], { signal });
    samples.push(Number(stdout) - began);
  }
  return [{ name: 'start of a process to the first sample', unit: 'ms', value: spread(samples) }];
}
