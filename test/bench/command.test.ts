import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import type { BenchResult, Breakdown, Ceiling } from '../../bench/result.js';
import { parseResult } from '../../bench/schema.js';
import { resolveDevice } from '../../lib/deviceList.js';
import { temporaryFolder } from '../support/temporaryFolder.js';
import { measurement, result } from './results.js';

const folder = temporaryFolder();
const program = join(__dirname, '..', '..', 'dist', 'cli', 'main.js');
const bench = (...args: string[]) => spawnSync(process.execPath, [program, 'bench', ...args], { encoding: 'utf8' });
const read = (path: string): BenchResult => parseResult(JSON.parse(readFileSync(path, 'utf8')), path);

function save(name: string, value: unknown): string {
  const path = join(folder, name);
  writeFileSync(path, JSON.stringify(value));
  return path;
}

describe('measuring', () => {
  for (const id of ['cpu', 'emulator'])
    test(`operations and blocks on the ${id} go to a file, with floors and the state of the machine`, (context) => {
      try {
        resolveDevice(id);
      } catch (error) {
        context.skip((error as Error).message);
      }
      const file = join(folder, 'new', `${id}.json`);
      const what = ['--suite', 'blocks,kernels', '--only', 'attention', '--dtype', 'f32', '--batch', '1'];
      const { status, stdout, stderr } = bench(...what, '--quick', '--device', id, '--json', file, '--note', 'a test');
      expect(status, stderr).toBe(0);
      const { measurements, ceilings, machine, machineAfter, note, quick, threads } = read(file);
      expect(measurements.filter(({ suite }) => suite === 'kernels').length).toBeGreaterThanOrEqual(2);
      expect(measurements.filter(({ suite }) => suite === 'blocks').map(({ kind }) => kind)).toEqual([
        'residual with attention forward',
        'residual with attention training',
      ]);
      for (const { name, work, floor } of measurements) {
        expect(work?.flops, name).toBeGreaterThan(0);
        expect(floor, name).toBeGreaterThan(0);
        expect(stdout).toContain(name);
      }
      expect(ceilings.map(({ dtype }) => dtype)).toEqual(['f32']);
      const [{ flopsPerSecond, bytesPerSecond }] = ceilings as [Ceiling];
      for (const { suite, name, work, floor } of measurements)
        if (suite === 'kernels' && work)
          expect(floor, name).toBeCloseTo(Math.max(work.flops / flopsPerSecond, work.bytes / bytesPerSecond), 9);
      expect(machine.commit).toMatch(/./);
      expect(machineAfter.loadAverage).toBeGreaterThanOrEqual(0);
      expect({ note, quick }).toEqual({ note: 'a test', quick: true });
      expect(threads).toBeGreaterThanOrEqual(1);
    });

  test('training steps are divided by kinds of operations, as a profile times them', (context) => {
    try {
      resolveDevice('emulator');
    } catch (error) {
      context.skip((error as Error).message);
    }
    const file = join(folder, 'steps.json');
    const what = ['--suite', 'train', '--only', 'step', '--dtype', 'f32', '--quick', '--device', 'emulator'];
    const { status, stderr } = bench(...what, '--json', file);
    expect(status, stderr).toBe(0);
    const { breakdowns, measurements } = read(file);
    expect(breakdowns.map(({ name }) => name)).toEqual(measurements.map(({ name }) => name));
    const { kinds } = breakdowns[0] as Breakdown;
    // 25 convolutions; only the first needs no gradient of its input.
    expect(kinds['convolution forward']).toMatchObject({ count: 25 });
    expect(kinds['convolution data']).toMatchObject({ count: 24 });
    expect(kinds['convolution weights']).toMatchObject({ count: 25 });
    expect(kinds.optimiser).toMatchObject({ count: 2 });
    const names = Object.keys(kinds);
    for (const name of ['attention', 'normalisation', 'linear', 'pointwise', 'rest', 'gaps']) expect(names).toContain(name);
    for (const [name, { seconds, floor }] of Object.entries(kinds))
      if (name !== 'gaps') expect(Math.min(seconds, floor), name).toBeGreaterThan(0);
  });

  test('with --json alone the result is all of the standard output', () => {
    const { status, stdout } = bench('--suite', 'overhead', '--only', 'installed', '--quick', '--device', 'cpu', '--json');
    expect(status).toBe(0);
    const { overheads } = parseResult(JSON.parse(stdout), 'stdout');
    expect(overheads.map(({ unit }) => unit)).toEqual(['bytes', 'bytes']);
    for (const { value } of overheads) expect(value.median).toBeGreaterThan(1e5);
  });

  test('Ctrl-C leaves what there is, and exit status 1', async () => {
    const file = join(folder, 'partial.json');
    const what = ['--suite', 'kernels', '--only', 'conv', '--quick', '--device', 'cpu', '--dtype', 'f32', '--batch', '1'];
    const child = spawn(process.execPath, [program, 'bench', ...what, '--json', file], { stdio: ['ignore', 'ignore', 'pipe'] });
    let stderr = '';
    child.stderr.on('data', (text) => (stderr += text));
    const ended = new Promise((resolve) => child.once('exit', resolve));
    while (child.exitCode === null && !(existsSync(file) && read(file).measurements.length >= 2)) await pause(50);
    child.kill('SIGINT');
    expect(await ended).toBe(1);
    expect(stderr).toContain('interrupted');
    const { measurements, machineAfter } = read(file);
    expect(measurements.length).toBeGreaterThanOrEqual(2);
    expect(machineAfter).toEqual({});
  });
});

describe('usage', () => {
  test.each([
    ['--suite', 'kernel'],
    ['--suite', 'kernels,everything'],
    ['--dtype', 'f16'],
    ['--batch', '0'],
    ['--compare', 'a.json', 'b.json', 'c.json'],
  ])('%s %s is wrong usage', (...args) => {
    const { status, stderr } = bench(...args);
    expect(status).toBe(2);
    expect(stderr).toMatch(/compare|kernel|everything|f16|at least 1/);
  });

  test('an option that could do nothing is wrong usage', () => {
    const old = save('same.json', result());
    expect(bench('--compare', old, old, '--report')).toMatchObject({ status: 2, stderr: expect.stringContaining('--report') });
    const nothing = ['--suite', 'overhead', '--only', 'no such part', '--quick', '--device', 'cpu'];
    expect(bench(...nothing)).toMatchObject({ status: 2, stderr: expect.stringContaining("'no such part'") });
  });

  test.each(['--json', '--report'])('a file for %s that cannot be written fails before anything is measured', (option) => {
    const path = join(save('in-the-way', ''), 'result');
    const { status, stdout, stderr } = bench('--suite', 'overhead', '--device', 'cpu', option, path);
    expect(stderr).toMatch(/^error: cannot write '.*in-the-way/);
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
  });

  test('a file to compare with that is missing fails before anything is measured, by its name', () => {
    const { status, stderr } = bench('--compare', join(folder, 'nowhere.json'));
    expect(status).toBe(1);
    expect(stderr).toMatch(/^error: .*nowhere\.json/m);
  });

  test('a file to compare with that is no result fails by its field', () => {
    const { status, stderr } = bench('--compare', save('wrong.json', { ...result(), threads: 'two' }));
    expect(status).toBe(1);
    expect(stderr).toMatch(/wrong\.json.*threads/);
  });
});

describe('comparing', () => {
  test('two files are compared without measuring', () => {
    const old = save('old.json', result({ measurements: [measurement('copy', 0.02)] }));
    const young = save('young.json', result({ measurements: [measurement('copy', 0.01)], threads: 1 }));
    const { status, stdout, stderr } = bench('--compare', old, young);
    expect(status, stderr).toBe(0);
    expect(stdout).toContain('warning: threads differs: 2, then 1');
    expect(stdout).toMatch(/^\* kernels: copy, f32, batch 4 +2\.00×$/m);
    const asJson = JSON.parse(bench('--compare', old, young, '--json').stdout);
    expect(asJson).toEqual({
      warnings: ['threads differs: 2, then 1'],
      rows: [{ name: 'kernels: copy, f32, batch 4', ratio: 2, differs: true }],
      gone: [],
      added: [],
    });
  });

  test('npm run bench compares two files and leaves results and README alone', () => {
    const root = join(__dirname, '..', '..');
    const state = () => [readdirSync(join(root, 'bench', 'results')), readFileSync(join(root, 'README.md'), 'utf8')];
    const before = state();
    const one = save('one.json', result());
    const script = join(root, 'scripts', 'bench.mjs');
    const { status, stdout } = spawnSync(process.execPath, [script, '--compare', one, one], { encoding: 'utf8' });
    expect(status).toBe(0);
    expect(stdout).toMatch(/^0 of 0 differ/m);
    expect(state()).toEqual(before);
  });

  test('one file is compared with what is measured', () => {
    const old = save(
      'before.json',
      result({ overheads: [{ name: 'native files', unit: 'bytes', value: { median: 1e9, p10: 1e9, p90: 1e9 } }] }),
    );
    const { status, stdout } = bench(
      '--suite',
      'overhead',
      '--only',
      'installed',
      '--quick',
      '--device',
      'cpu',
      '--compare',
      old,
    );
    expect(status).toBe(0);
    expect(stdout).toMatch(/^\* native files +\d/m);
    expect(stdout).toMatch(/^warning: cpu differs: a processor, then /m);
    expect(stdout).toContain('+ files of the package is measured now only');
  });
});
