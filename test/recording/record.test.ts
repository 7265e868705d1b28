import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  type Device,
  NonFiniteError,
  OptionError,
  openDevice,
  type RecordedStep,
  type RecordOptions,
  type RunMetrics,
  readMetrics,
  recordRun,
  Sampler,
  Trainer,
} from '../../lib/index.js';
import { temporaryFolder } from '../support/temporaryFolder.js';
import { bitsOf, take, tinyData, tinyModel, tinyTrainer } from '../train/tiny.js';

const root = temporaryFolder();
let device: Device;
beforeAll(async () => {
  device = await openDevice('cpu', { threads: 1 });
});
afterAll(() => device.close());

async function record(trainer: Trainer, options: RecordOptions): Promise<RecordedStep[]> {
  const steps: RecordedStep[] = [];
  for await (const step of recordRun(trainer, options)) steps.push(step);
  return steps;
}
async function metricsOf(folder: string): Promise<RunMetrics[]> {
  const metrics: RunMetrics[] = [];
  for await (const one of readMetrics(folder)) metrics.push(one);
  return metrics;
}
const count = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);
const pixels = (path: string) => sharp(path).raw().toBuffer();

test('training is the same as without a record, and the file holds what was told', async () => {
  const directory = join(root, 'a');
  const options = { learningRateSchedule: 'linear', warmupSteps: 2 } as const;
  const trainer = tinyTrainer(device, { ...options, directory });
  const plain = tinyTrainer(device, options);
  const told = await record(trainer, { steps: 6, preview: { every: 2, count: 3, steps: 2 }, curveEvery: 2 });
  expect(told.map(({ loss, gradientNorm }) => [loss, gradientNorm])).toEqual(await take(plain, 6));
  expect(await bitsOf(trainer)).toEqual(await bitsOf(plain));
  expect(await metricsOf(directory)).toEqual(told);
  // Up to 1e-3 over two steps, then down in a line to 0 at step 6 (counted from 0).
  const rates = [0.5, 1, 1, 0.75, 0.5, 0.25].map((part) => part * 1e-3);
  told.forEach(({ learningRate }, i) => {
    expect(learningRate).toBeCloseTo(rates[i] as number, 12);
  });
  const seconds = told.map((step) => step.seconds);
  expect(seconds).toEqual([...seconds].sort((a, b) => a - b));
  expect(seconds[0]).toBeGreaterThan(0);
  expect(readFileSync(join(directory, 'loss.svg'), 'utf8')).toContain('at step 6');
  expect(await sharp(join(directory, 'loss.png')).metadata()).toMatchObject({ format: 'png', width: 960 });
});

test('a preview shows the averaged weights of its step, by one seed', async () => {
  const directory = join(root, 'b');
  const trainer = tinyTrainer(device, { directory });
  const preview = { every: 3, count: 5, steps: 4, seed: 9 };
  await record(trainer, { steps: 7, preview });
  expect(readdirSync(join(directory, 'previews'))).toEqual(['step-00000003.png', 'step-00000006.png', 'step-00000007.png']);
  const plain = tinyTrainer(device);
  for (const [steps, name] of [
    [3, 'step-00000003.png'],
    [3, 'step-00000006.png'],
    [1, 'step-00000007.png'],
  ] as const) {
    await take(plain, steps);
    const sampler = new Sampler(plain.diffusion, plain.ema, { method: 'ddim', steps: 4 });
    using images = await sampler.sample({ count: 5, seed: 9 });
    await images.savePng(join(root, name), { scale: 16 });
    expect((await pixels(join(directory, 'previews', name))).equals(await pixels(join(root, name)))).toBe(true);
    sampler.dispose();
  }
});

test('a model with classes shows them in turn, or those asked for', async () => {
  const directory = join(root, 'c');
  const make = () => tinyTrainer(device, { directory, model: tinyModel(device, { numClasses: 2, zeroInit: false }) });
  const path = join(directory, 'previews/step-00000001.png');
  const draw = async (labels?: number[]) => {
    await record(make(), { steps: 1, preview: { count: 4, steps: 2, labels } });
    return pixels(path);
  };
  const inTurn = await draw();
  expect((await draw([0, 1, 0, 1])).equals(inTurn)).toBe(true);
  expect((await draw([1, 1, 0, 0])).equals(inTurn)).toBe(false);
  for (const labels of [
    [0, 1],
    [0, 1, 2, 0],
  ])
    expect(() => recordRun(make(), { steps: 1, preview: { count: 4, labels } })).toThrow(/preview\.labels/);
});

test('a run that ended at any step goes on from its checkpoint with each step once', async () => {
  const directory = join(root, 'd');
  const trainer = tinyTrainer(device, { directory, checkpointEvery: 4 });
  for await (const { step } of recordRun(trainer, { steps: 100 })) if (step === 6) break; // without a last checkpoint
  const left = (await metricsOf(directory)).map(({ step }) => step);
  expect(left).toEqual(count(1, trainer.step)); // also the step that was under way
  const killed = join(root, 'd as it was');
  cpSync(directory, killed, { recursive: true });
  writeFileSync(join(killed, '.loss.svg.0123456789ab.tmp'), 'half');
  const resumed = await Trainer.resume(killed, { device, data: tinyData() });
  expect(resumed.step).toBe(4);
  await record(resumed, { steps: 5 });
  const metrics = await metricsOf(killed);
  expect(metrics.map(({ step }) => step)).toEqual(count(1, 9));
  expect(metrics.slice(0, 6).map(({ loss }) => loss)).toEqual((await metricsOf(directory)).slice(0, 6).map(({ loss }) => loss));
  expect(metrics.every(({ seconds }, i) => i === 0 || seconds > (metrics[i - 1]?.seconds as number))).toBe(true);
  expect(readFileSync(join(killed, 'loss.svg'), 'utf8')).toContain('at step 9');
  expect(readdirSync(killed).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  resumed.dispose();
});

test('an abort ends a preview, and leaves every step that was taken in the file', async () => {
  const directory = join(root, 'e');
  const trainer = tinyTrainer(device, { directory });
  const controller = new AbortController();
  const preview = { every: 3, count: 4, steps: 50 };
  const abort = setInterval(() => trainer.step === 3 && controller.abort());
  await expect(record(trainer, { steps: 50, preview, signal: controller.signal })).rejects.toThrow(/abort/i);
  clearInterval(abort);
  expect((await metricsOf(directory)).map(({ step }) => step)).toEqual(count(1, trainer.step));
  expect((await record(trainer, { steps: 2 })).map(({ step }) => step)).toEqual([trainer.step - 1, trainer.step]);
});

test('a loss that is not finite is noted as null, also where it ends the run', async () => {
  const directory = join(root, 'f');
  const trainer = tinyTrainer(device, { directory, learningRate: 1e30, gradientClip: 0 });
  await expect(record(trainer, { steps: 50 })).rejects.toThrow(NonFiniteError);
  const metrics = await metricsOf(directory);
  const first = metrics.findIndex(({ loss, gradientNorm }) => loss === null || gradientNorm === null);
  expect(first).toBeGreaterThan(0);
});

test('wrong options are refused before anything is written', () => {
  const trainer = tinyTrainer(device, { directory: join(root, 'never') });
  expect(() => recordRun(tinyTrainer(device), { steps: 1 })).toThrow("give the trainer option 'directory'");
  expect(() => recordRun({} as Trainer, { steps: 1 })).toThrow(OptionError);
  expect(() => recordRun(trainer, { steps: -1 })).toThrow(/'steps'/);
  expect(() => recordRun(trainer, { steps: 1, preview: 0 })).toThrow(/'preview'/);
  expect(() => recordRun(trainer, { steps: 1, preview: { seeds: 1 } as object })).toThrow(/unknown option 'seeds'/);
  expect(readdirSync(root)).not.toContain('never');
});

test('one record at a time; memory of the device is as before', async () => {
  const trainer = tinyTrainer(device, { directory: join(root, 'g') });
  const preview = { every: 1, count: 2, steps: 2 };
  await record(trainer, { steps: 3, preview });
  const before = device.memory().usedBytes;
  const first = recordRun(trainer, { steps: 3, preview });
  await first.next();
  await expect(recordRun(trainer, { steps: 1 }).next()).rejects.toThrow(/being recorded/);
  for await (const _ of first);
  expect(device.memory().usedBytes).toBeLessThanOrEqual(before); // less where garbage of other tests went meanwhile
});
