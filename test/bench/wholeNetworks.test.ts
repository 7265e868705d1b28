import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { tiny } from '../../bench/networks.js';
import type { Case } from '../../bench/peers/sides.js';
import type { Measurement } from '../../bench/result.js';
import { parseResult } from '../../bench/schema.js';
import type { SuiteContext } from '../../bench/suite.js';
import { sampleCases } from '../../bench/suites/sample.js';
import { trainCases } from '../../bench/suites/train.js';
import { listDevices, resolveDevice } from '../../lib/deviceList.js';
import { temporaryFolder } from '../support/temporaryFolder.js';

const folder = temporaryFolder();
const root = join(__dirname, '..', '..');
type Module = typeof import('../../bench/peers/measure.js');
const load = () => createRequire(__filename)(join(root, 'dist', 'bench', 'peers', 'measure.js')) as Module;

const context: SuiteContext = {
  device: 'cpu',
  threads: 2,
  dtypes: ['f32'],
  quick: true,
  peers: false,
  python: join(folder, 'no-python'),
  only: '',
  repetitions: 2,
  ceilings: [{ dtype: 'f32', flopsPerSecond: 1e11, bytesPerSecond: 1e10 }],
  signal: new AbortController().signal,
  progress() {},
};
const someCase = (more: Partial<Case>): Case => ({ network: tiny, job: 'forward', batch: 3, dtype: 'f32', ...more });

async function measure(suite: 'train' | 'sample', more: Partial<SuiteContext>, ...cases: Case[]): Promise<Measurement[]> {
  const found: Measurement[] = [];
  for await (const one of load().measureCases(suite, { ...context, ...more }, cases))
    if ('measurement' in one) found.push(one.measurement);
  return found;
}

const errorsOf = (found: Measurement | undefined, side: string) => found?.sides[side]?.errors ?? [Number.NaN];
const folders = () => readdirSync(folder).filter((name) => name.startsWith('diffusion-bench-'));

function pythonWithTorch(): string | null {
  const python = process.env.PYTHON ?? 'python3';
  try {
    execFileSync(python, ['-c', 'import torch'], { stdio: 'ignore' });
    return python;
  } catch {
    return null;
  }
}

beforeAll(() => vi.stubEnv('TMPDIR', folder)); // where the references are made
afterAll(() => vi.unstubAllEnvs());
afterEach(() => vi.restoreAllMocks());

describe('whole networks on the cpu', () => {
  test('beside onnxruntime: a prediction, and DDIM driven from JavaScript', async () => {
    const said = vi.spyOn(console, 'error').mockImplementation(() => {});
    const [forward] = await measure('train', { peers: true }, someCase({}));
    const [ddim] = await measure('sample', { peers: true }, someCase({ job: 'ddim-4' }));
    expect(said.mock.calls.flat()).toContainEqual(expect.stringMatching(/PyTorch is not measured: .*no-python/));
    expect(forward).toMatchObject({
      suite: 'train',
      name: 'tiny forward',
      kind: 'forward',
      network: 'tiny',
      batch: 3,
      images: 3,
    });
    expect(ddim).toMatchObject({ suite: 'sample', name: 'tiny ddim-4', kind: 'ddim-4', images: 3, evaluations: 4 });
    for (const one of [forward, ddim]) {
      expect(Object.keys(one?.sides ?? {})).toEqual(['ours', 'onnxruntime']);
      expect(one?.sides.onnxruntime).toMatchObject({
        about: expect.stringMatching(/^onnxruntime-node \d/),
        samples: 2,
        fastest: true,
      });
      for (const { seconds, peakBytes } of Object.values(one?.sides ?? {})) {
        expect(seconds.median).toBeGreaterThan(0);
        expect(peakBytes).toBeGreaterThan(2e7);
      }
      expect(one?.floor).toBeGreaterThan(0);
    }
    expect(ddim?.work?.flops).toBeGreaterThan(3.9 * (forward?.work?.flops as number));
    expect(errorsOf(forward, 'ours')).toEqual([0]);
    expect(errorsOf(forward, 'onnxruntime')[0]).toBeLessThan(1e-4);
    const [prediction, samples] = errorsOf(ddim, 'onnxruntime') as [number, number];
    expect([prediction < 1e-4, samples < 1e-3, samples > 0]).toEqual([true, true, true]);
    expect(folders()).toEqual([]);
  });

  test('a training step, and bf16 beside onnxruntime, which has none', async (test) => {
    const [step] = await measure('train', { peers: true }, someCase({ job: 'step' }));
    expect(Object.keys(step?.sides ?? {})).toEqual(['ours']);
    expect(errorsOf(step, 'ours')).toEqual([0, 0]);
    expect([step?.images, step?.evaluations]).toEqual([3, undefined]);
    if (!listDevices().find(({ id }) => id === 'cpu')?.bf16) return test.skip('this processor does not compute in bf16');
    const [ddim] = await measure('sample', { peers: true }, someCase({ job: 'ddim-2', dtype: 'bf16' }));
    expect(Object.keys(ddim?.sides ?? {})).toEqual(['ours', 'onnxruntime f32']);
    const [ours] = errorsOf(ddim, 'ours') as [number];
    expect([ours > 1e-4, ours < 5e-2]).toEqual([true, true]);
  });

  test('beside PyTorch', async (test) => {
    const python = pythonWithTorch();
    if (python === null) return test.skip('no Python with PyTorch (environment variable PYTHON)');
    const jobs = ['step', 'ddim-2'] as const;
    const found = await measure('sample', { peers: true, python, repetitions: 1 }, ...jobs.map((job) => someCase({ job })));
    for (const one of found) for (const error of errorsOf(one, 'torch channels_last')) expect(error, one.name).toBeLessThan(1e-3);
  });

  test('interrupted: the reason is passed on, and nothing stays', async () => {
    const controller = new AbortController();
    const progress = (done: number) => void (done === 1 && setTimeout(() => controller.abort(), 300));
    const cases = [someCase({}), someCase({ job: 'ddpm-1000', batch: 16 })];
    await expect(measure('sample', { signal: controller.signal, progress }, ...cases)).rejects.toThrow(/aborted/);
    expect(folders()).toEqual([]);
  });
});

test('the suites on the emulator, by the command', (context) => {
  try {
    resolveDevice('emulator');
  } catch (error) {
    context.skip((error as Error).message);
  }
  const file = join(folder, 'emulator.json');
  const args = [
    'bench',
    '--suite',
    'train,sample',
    '--quick',
    '--repetitions',
    '1',
    '--device',
    'emulator',
    '--dtype',
    'f32',
    '--json',
    file,
  ];
  const { status, stderr } = spawnSync(process.execPath, [join(root, 'dist', 'cli', 'main.js'), ...args], { encoding: 'utf8' });
  expect(status, stderr).toBe(0);
  const { measurements } = parseResult(JSON.parse(readFileSync(file, 'utf8')), file);
  expect(measurements.map(({ name }) => name)).toEqual(
    ['forward', 'step', 'ddpm-3', 'ddim-3', 'dpmSolver++-3'].map((job) => `tiny ${job}`),
  );
  for (const { name, sides } of measurements)
    for (const error of sides.ours?.errors ?? [1]) expect(error, name).toBeLessThan(1e-3);
});

describe('what is measured', () => {
  const names = (cases: Case[]) => cases.map(({ network, job, batch }) => `${network.name} ${job} ${batch}`);
  const choose = { ...context, quick: false };

  test('on a CPU: DDPM in a thousand steps only when it is asked for', () => {
    expect(names(trainCases(choose)).filter((name) => name.includes('step'))).toEqual([
      'cifar10 step 1',
      'cifar10 step 4',
      'cifar10 step 16',
      'imagenet64 step 1',
    ]);
    expect(names(sampleCases(choose))).toEqual(
      ['ddim-50', 'dpmSolver++-20'].flatMap((job) => [1, 4, 16].map((batch) => `cifar10 ${job} ${batch}`)),
    );
    expect(names(sampleCases({ ...choose, only: 'ddpm', batches: [2] }))).toEqual(['cifar10 ddpm-1000 2']);
    expect([trainCases(context), sampleCases(context)].flat().map(({ network }) => network.name)).not.toContain('imagenet64');
  });

  test('on a GPU', () => {
    const cuda = { ...choose, device: 'cuda:1', dtypes: ['f32', 'bf16'] as const };
    expect(names(trainCases(cuda).filter(({ job, dtype }) => job === 'step' && dtype === 'bf16'))).toEqual([
      ...[128, 256, 512].map((batch) => `cifar10 step ${batch}`),
      ...[64, 128].map((batch) => `imagenet64 step ${batch}`),
    ]);
    expect(sampleCases(cuda)).toHaveLength(2 * 3 * 4 * 2);
  });
});
