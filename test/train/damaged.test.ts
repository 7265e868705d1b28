import { mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import {
  DatasetError,
  type Device,
  DTypeError,
  FileFormatError,
  GaussianDiffusion,
  NoiseSchedule,
  OutOfMemoryError,
  openDevice,
  ShapeError,
  Trainer,
} from '../../lib/index.js';
import { jsonTokens, mutate, numbers } from '../support/mutate.js';
import { goldenPath } from '../support/shared.js';
import { temporaryFolder } from '../support/temporaryFolder.js';
import { take, tinyData, tinyModel, tinyTrainer } from './tiny.js';

/** Inputs of this file: checkpoints that are damaged in one or two places. */
const count = 1600;
const root = temporaryFolder();
const whole = join(root, 'whole');
const damaged = join(root, 'damaged');

let device: Device;
let files: Map<string, Buffer>;
beforeAll(async () => {
  device = await openDevice('cpu', { threads: 1, memoryLimit: 64 << 20 });
  const diffusion = new GaussianDiffusion(device, NoiseSchedule.linear({ timesteps: 12 }).respace([6]), {
    timestepSampler: 'lossSecondMoment',
  });
  const model = tinyModel(device, { baseChannels: 4, groups: 2, channelMults: [1], attentionResolutions: [] });
  const trainer = tinyTrainer(device, { model, diffusion, directory: whole });
  await take(trainer, 1);
  await trainer.save();
  await take(trainer, 1);
  await trainer.save();
  for (const part of [trainer, model, diffusion]) part.dispose();
  const names = readdirSync(whole, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  files = new Map(
    names
      .map(({ parentPath, name }) => join(parentPath, name).slice(whole.length + 1))
      .map((name) => [name, readFileSync(join(whole, name))]),
  );
  await device.synchronize();
});
afterAll(() => device.close());

const resume = (folder: string) => Trainer.resume(folder, { device, data: tinyData() });
const foreign = ['files/zip64.pt', 'files/extremes.safetensors', 'unet/d1_cifar_style/config.json'].map((path) =>
  readFileSync(goldenPath(path)),
);

/** Files that the last damages have touched. */
const touched = new Set<string>();

/** Writes files of the run as they were. */
function restore(names: Iterable<string>): void {
  for (const name of names) {
    const path = join(damaged, name);
    rmSync(path, { recursive: true, force: true });
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, files.get(name) as Buffer);
  }
}

/** A damage to one file of the newest checkpoint or of the run. */
function damage(random: (limit: number) => number): string {
  const names = [...files.keys()].filter((name) => !name.startsWith('checkpoint-1'));
  const name = names[random(names.length)] as string;
  const [path, bytes] = [join(damaged, name), files.get(name) as Buffer];
  restore([name]);
  touched.add(name);
  const replace = (what: string, content: Uint8Array) => {
    writeFileSync(path, content);
    return `${name}: ${what}`;
  };
  switch (random(12)) {
    case 0:
      rmSync(path);
      return `${name}: missing`;
    case 1:
      return replace('cut short', bytes.subarray(0, random(bytes.length)));
    case 2:
      return replace('foreign', foreign[random(foreign.length)] as Buffer);
    case 3:
      return replace('another of the run', files.get(names[random(names.length)] as string) as Buffer);
    case 4: {
      const older = files.get(name.replace('checkpoint-2', 'checkpoint-1')) ?? bytes;
      return replace('of another step', older);
    }
    case 5:
      rmSync(path);
      mkdirSync(path);
      return `${name}: a folder`;
    case 6:
      rmSync(path);
      symlinkSync(name.length % 2 === 0 ? path : join(root, 'nowhere'), path);
      return `${name}: a link to itself or nowhere`;
    case 7: {
      const folder = dirname(name);
      rmSync(join(damaged, folder), { recursive: true });
      for (const one of files.keys()) if (folder === '.' || one.startsWith(`${folder}/`)) touched.add(one);
      return `${folder}: missing`;
    }
    default:
      return replace('mutated', mutate(bytes, random, [...files.values()], jsonTokens));
  }
}

const allowed = [FileFormatError, DatasetError, ShapeError, DTypeError, OutOfMemoryError];

test(`${count} damaged checkpoints: each is resumed or refused by a typed error, and a whole one still resumes`, async () => {
  const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
  const empty = device.memory().usedBytes;
  const seen = { resumed: 0, refused: 0 };
  restore(files.keys());
  for (let i = 0; i < count; i++) {
    const random = numbers(i);
    restore(touched);
    touched.clear();
    const what = [damage(random), ...(random(4) === 0 ? [damage(random)] : [])];
    const start = performance.now();
    try {
      const trainer = await resume(damaged);
      expect([1, 2], `${what}`).toContain(trainer.step);
      trainer.dispose();
      seen.resumed++;
    } catch (error) {
      if (!allowed.some((type) => error instanceof type)) throw new Error(`input ${i} (${what}): ${(error as Error).stack}`);
      seen.refused++;
    }
    expect(performance.now() - start, `milliseconds of input ${i} (${what})`).toBeLessThan(5000);
    if (i % 100 !== 99) continue;
    await device.synchronize();
    expect(device.memory().usedBytes, `memory of the device after input ${i}`).toBe(empty);
    using again = await resume(whole);
    expect(again.step).toBe(2);
    expect(await take(again, 1)).toHaveLength(1);
  }
  warn.mockRestore();
  expect(seen.refused).toBeGreaterThan(count / 2);
  expect(seen.resumed).toBeGreaterThan(count / 50);
}, 600_000);
