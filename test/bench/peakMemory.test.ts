import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const memory = JSON.stringify(join(__dirname, '..', '..', 'dist', 'bench', 'peers', 'memory.js'));

/** Node's own answer to a script, as a number. */
const run = (script: string) => Number(spawnSync(process.execPath, ['-e', script], { encoding: 'utf8' }).stdout);

const print = `console.log(require(${memory}).peakResidentBytes())`;

test('peak memory is what the process itself had, not what the one had that started it', () => {
  const child = `console.log(require('node:child_process').spawnSync(process.execPath, ['-e', ${JSON.stringify(print)}], { encoding: 'utf8' }).stdout)`;
  const alone = run(print);
  expect(alone).toBeGreaterThan(2e7);
  expect(run(`const held = Buffer.alloc(4e8, 1); ${child}; held.at(0)`)).toBeLessThan(alone + 1e8);
  expect(run(`Buffer.alloc(4e8, 1); ${print}`)).toBeGreaterThan(4e8);
});
