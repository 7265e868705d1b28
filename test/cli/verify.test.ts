import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { commandLine } from '../support/commandLine.js';
import { eachDevice } from '../support/devices.js';
import { temporaryFolder } from '../support/temporaryFolder.js';

const vectors = join(__dirname, '..', '..', 'vectors');

interface Result {
  passed: number;
  failed: number;
  checks: { name: string; quantity: string; error: number; tolerance: number; passed: boolean }[];
}

eachDevice((id) => {
  test('agrees with the reference numbers of the package', async () => {
    const { status, stdout, stderr } = await commandLine('verify', '--device', id, '--json');
    const { passed, failed, checks } = JSON.parse(stdout) as Result;
    expect(checks.filter((check) => !check.passed)).toEqual([]);
    expect([status, failed, passed]).toEqual([0, 0, checks.length]);
    expect(stderr).toMatch(new RegExp(`^${passed} passed, 0 failed on ${id}`));
    const kinds = new Set(checks.map(({ name }) => name.split(' ')[0]));
    expect([...kinds].sort()).toEqual(['loss', 'network', 'process', 'respacing', 'sampler', 'schedule', 'training']);
  });
});

test('a table of cases, and status 1 where a number differs', async () => {
  const folder = temporaryFolder();
  copyFileSync(join(vectors, 'vectors.safetensors'), join(folder, 'vectors.safetensors'));
  const description = JSON.parse(readFileSync(join(vectors, 'vectors.json'), 'utf8'));
  description.optimizer.losses[9] *= 1.001;
  writeFileSync(join(folder, 'vectors.json'), JSON.stringify(description));
  const { status, stdout, stderr } = await commandLine('verify', '--device', 'cpu', '--vectors', folder);
  expect(status).toBe(1);
  const failed = stdout.split('\n').filter((line) => line.endsWith('FAILED'));
  expect(failed).toEqual([expect.stringMatching(/^training +losses of 10 steps, relative +2e-4 +1\.0e-3 +FAILED$/)]);
  expect(stderr).toMatch(/^error: cpu failed 1 of \d+ comparisons/);
});

test('names a file that is missing', async () => {
  const { status, stderr } = await commandLine('verify', '--device', 'cpu', '--vectors', temporaryFolder());
  expect(status).toBe(1);
  expect(stderr).toContain('vectors.json');
});
