import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { DatasetError, type Device, FileFormatError, OptionError, openDevice, Trainer, UNet } from '../../lib/index.js';
import { temporaryFolder } from '../support/temporaryFolder.js';
import { bitsOf, hashOf, take, tinyData, tinyModel, tinyTrainer } from './tiny.js';

const root = temporaryFolder();
let folders = 0;
const freshFolder = () => join(root, `${++folders}`, 'run');

let device: Device;
beforeAll(async () => {
  device = await openDevice('cpu', { threads: 2 });
});
afterAll(() => device.close());

/** Everything that the future of a run depends on. */
async function stateOf(trainer: Trainer, folder: string) {
  const moments = await readFile(join(folder, `checkpoint-${trainer.step}`, 'optimizer.safetensors'));
  return { step: trainer.step, ...(await bitsOf(trainer)), moments: hashOf(moments) };
}

describe.each([
  { name: 'whole batches', options: {} },
  { name: 'micro-batches, falling learning rate', options: { microBatch: 2, learningRateSchedule: 'cosine', totalSteps: 8 } },
] as const)('a run that was stopped and resumed, $name', ({ options }) => {
  test('is the uninterrupted one, bit for bit', async () => {
    const [directory, other] = [freshFolder(), freshFolder()];
    const whole = tinyTrainer(device, { ...options, directory: other });
    const expected = await take(whole, 8);
    await whole.save();

    const first = tinyTrainer(device, { ...options, directory });
    const losses = await take(first, 3);
    await first.save();
    first.dispose();
    const warn = vi.spyOn(process, 'emitWarning');
    using again = await Trainer.resume(directory, { device, data: tinyData() });
    expect(warn).not.toHaveBeenCalled();
    warn.mockRestore();
    expect(again.step).toBe(3);
    losses.push(...(await take(again, 5)));
    await again.save();
    expect(losses).toEqual(expected);
    expect(await stateOf(again, directory)).toEqual(await stateOf(whole, other));
  });
});

test('after an abort, or in the middle of a run, save() keeps what was done', async () => {
  const directory = freshFolder();
  const trainer = tinyTrainer(device, { directory });
  const controller = new AbortController();
  await expect(
    (async () => {
      for await (const { step } of trainer.run({ steps: 50, signal: controller.signal })) if (step === 2) controller.abort();
    })(),
  ).rejects.toMatchObject({ name: 'AbortError' });
  await trainer.save();
  expect((await Trainer.resume(directory, { device, data: tinyData() })).step).toBe(trainer.step);

  // Not awaited: the steps that follow wait until the weights have been read.
  let saving: Promise<string> | undefined;
  for await (const _ of trainer.run({ steps: 30 })) saving ??= trainer.save();
  await saving;
  const again = await Trainer.resume(directory, { device, data: tinyData() });
  expect(again.step).toBeLessThan(trainer.step);
  const fresh = tinyTrainer(device);
  await take(fresh, again.step);
  expect(await bitsOf(again)).toEqual(await bitsOf(fresh));
});

test('checkpoints are written on the way; the last two stay, and are what diffusers reads', async () => {
  const directory = freshFolder();
  const trainer = tinyTrainer(device, { directory, checkpointEvery: 2 });
  await take(trainer, 7);
  expect((await readdir(directory)).sort()).toEqual(['checkpoint-4', 'checkpoint-6', 'latest']);
  const files = await readdir(join(directory, 'checkpoint-6'), { recursive: true });
  expect(files.sort()).toEqual([
    'optimizer.safetensors',
    'trainer.json',
    'unet',
    'unet/config.json',
    'unet/diffusion_pytorch_model.safetensors',
    'unet_ema',
    'unet_ema/config.json',
    'unet_ema/diffusion_pytorch_model.safetensors',
  ]);
  using again = await Trainer.resume(directory, { device, data: tinyData() });
  expect(again.step).toBe(6);
  await take(again, 1);
  expect(await bitsOf(again)).toEqual(await bitsOf(trainer));
  using average = await UNet.load(device, join(directory, 'checkpoint-6', 'unet_ema'));
  expect(average.parameters().size).toBe(trainer.model.parameters().size);
});

test('a checkpoint that cannot be written leaves those before it whole', async () => {
  const directory = freshFolder();
  const trainer = tinyTrainer(device, { directory });
  await take(trainer, 1);
  await trainer.save();
  await take(trainer, 1);
  await writeFile(join(directory, 'checkpoint-2'), 'a file in the way');
  await expect(trainer.save()).rejects.toThrow(FileFormatError);
  await expect(trainer.save()).rejects.toThrow(join(directory, 'checkpoint-2'));
  expect((await readdir(directory)).sort()).toEqual(['checkpoint-1', 'checkpoint-2', 'latest']);
  expect((await Trainer.resume(directory, { device, data: tinyData() })).step).toBe(1);

  const save = vi.spyOn(UNet.prototype, 'save').mockImplementation(async () => {
    throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC', syscall: 'write' });
  });
  await take(trainer, 1);
  await expect(trainer.save()).rejects.toThrow(/checkpoint-3'.*no space left/);
  save.mockRestore();
  expect((await readdir(directory)).filter((name) => name.startsWith('.'))).toEqual([]);
  expect((await Trainer.resume(directory, { device, data: tinyData() })).step).toBe(1);
  await trainer.save();
  expect((await Trainer.resume(directory, { device, data: tinyData() })).step).toBe(3);
});

test('a folder that cannot be used is reported before the first step', async () => {
  const file = join(root, 'file');
  await writeFile(file, '');
  const trainer = tinyTrainer(device, { directory: join(file, 'run') });
  await expect(take(trainer, 1)).rejects.toThrow(FileFormatError);
  expect(trainer.step).toBe(0);
});

test('what an interrupted writer left is cleared, and a replaced checkpoint comes back', async () => {
  const directory = freshFolder();
  const trainer = tinyTrainer(device, { directory });
  await take(trainer, 1);
  await trainer.save();
  await trainer.save(); // the same step again takes the place of the first
  await mkdir(join(directory, '.checkpoint-9.0123456789ab.tmp', 'unet'), { recursive: true });
  await rename(join(directory, 'checkpoint-1'), join(directory, '.checkpoint-1.previous'));
  expect((await Trainer.resume(directory, { device, data: tinyData() })).step).toBe(1);
  expect((await readdir(directory)).sort()).toEqual(['checkpoint-1', 'latest']);
});

test('resume names what is wrong', async () => {
  const directory = freshFolder();
  const data = tinyData();
  const resume = (options: object = { device, data }) =>
    Trainer.resume(directory, options as { device: Device; data: typeof data });
  await expect(resume()).rejects.toThrow(FileFormatError);
  await mkdir(directory, { recursive: true });
  await expect(resume()).rejects.toThrow(`there is no checkpoint in '${directory}'`);
  await expect(resume({ device })).rejects.toThrow(OptionError);
  await expect(resume({ device, data, steps: 1 })).rejects.toThrow("unknown option 'steps'");

  const trainer = tinyTrainer(device, { directory });
  await take(trainer, 1);
  const path = await trainer.save();
  await expect(resume({ device, data: tinyData(7, 1) })).rejects.toThrow(DatasetError);
  await expect(resume({ device, data: tinyData(6) })).rejects.toThrow('6 images 8×8×3 now, 7 images 8×8×3 then');

  await rm(join(directory, 'latest'));
  expect((await resume()).step).toBe(1); // the highest step

  const file = join(path, 'trainer.json');
  const text = await readFile(file, 'utf8');
  const spoiled = { ...JSON.parse(text), device: { kind: 'cpu', threads: 63, isa: 'v9' } };
  await writeFile(file, JSON.stringify(spoiled));
  const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
  await resume();
  expect(warn.mock.calls[0]?.[0]).toMatch(/was on cpu, 63 threads, v9; on cpu, 2 threads, .* other rounding/);
  warn.mockRestore();
  await writeFile(file, text.replace('"step": 1', '"step": -1'));
  await expect(resume()).rejects.toThrow(/trainer\.json' does not describe a training run: .*'step'/);
  await writeFile(file, text.replace('"batchSize": 4', '"batchSize": 0'));
  await expect(resume()).rejects.toThrow(FileFormatError);
  await writeFile(file, text);
  await writeFile(join(path, 'optimizer.safetensors'), await readFile(join(path, 'unet', 'diffusion_pytorch_model.safetensors')));
  await expect(resume()).rejects.toThrow(/optimizer\.safetensors': 'exp_avg\..*' must have shape/);
});

test('save needs a folder', async () => {
  await expect(tinyTrainer(device, { model: tinyModel(device) }).save()).rejects.toThrow("give the trainer option 'directory'");
});
