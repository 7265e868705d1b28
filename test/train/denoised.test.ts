import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import {
  type Device,
  FileFormatError,
  GaussianDiffusion,
  loadPipeline,
  NoiseSchedule,
  OptionError,
  openDevice,
  ops,
  savePipeline,
  type Tensor,
  Trainer,
} from '../../lib/index.js';
import { temporaryFolder } from '../support/temporaryFolder.js';
import { take, tinyData, tinyModel, tinyTrainer } from './tiny.js';

const root = temporaryFolder();
let device: Device;
beforeAll(async () => {
  device = await openDevice('cpu', { threads: 1 });
});
afterAll(() => device.close());

const half = (x0: Tensor) => ops.scale(x0, 0.5);
const ownProcess = () => new GaussianDiffusion(device, NoiseSchedule.linear({ timesteps: 50 }), { denoisedFn: half });

/** x_0 as a process predicts it where the noise is predicted to be 0: 0.1/√ᾱ, or half of that with `half`. */
async function start(diffusion: GaussianDiffusion): Promise<number> {
  const x = device.full([1, 8, 8, 3], 0.1);
  const { predXStart } = diffusion.pMeanVariance(device.zeros(x.shape), x, [9]);
  return (await predXStart.read())[0] as number;
}
const expected = 0.1 / Math.sqrt(NoiseSchedule.linear({ timesteps: 50 }).alphasCumprod[9] as number);

test('a function that changes x_0 is given to Trainer.resume again, which warns where it is missing', async () => {
  const directory = join(root, 'run');
  using trainer = tinyTrainer(device, { model: tinyModel(device), diffusion: ownProcess(), directory });
  await take(trainer, 1);
  await trainer.save();
  const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
  using again = await Trainer.resume(directory, { device, data: tinyData(), denoisedFn: half });
  expect(warn).not.toHaveBeenCalled();
  expect(again.diffusion.denoisedFn).toBe(half);
  expect(await start(again.diffusion)).toBeCloseTo(expected / 2, 6);
  using without = await Trainer.resume(directory, { device, data: tinyData() });
  expect(warn.mock.calls).toEqual([[expect.stringMatching(/had a denoisedFn, which checkpoints do not hold/), 'ResumeWarning']]);
  expect(await start(without.diffusion)).toBeCloseTo(expected, 6);
  // Training does not call it: both go on alike.
  expect(await take(without, 2)).toEqual(await take(again, 2));
  // A checkpoint of the run without it no longer asks for it.
  await without.save();
  warn.mockClear();
  (await Trainer.resume(directory, { device, data: tinyData() })).dispose();
  expect(warn).not.toHaveBeenCalled();
  warn.mockRestore();
  await expect(Trainer.resume(directory, { device, data: tinyData(), denoisedFn: 3 as never })).rejects.toThrow(OptionError);
});

test('and to loadPipeline', async () => {
  const folder = join(root, 'pipeline');
  await savePipeline(folder, { model: tinyModel(device), diffusion: ownProcess() });
  const loaded = await loadPipeline(device, folder, { denoisedFn: half });
  expect(await start(loaded.diffusion)).toBeCloseTo(expected / 2, 6);
  expect(await start((await loadPipeline(device, folder)).diffusion)).toBeCloseTo(expected, 6);
  await expect(loadPipeline(device, folder, { denoisedFn: 'half' as never })).rejects.toThrow(OptionError);
  await expect(loadPipeline(device, join(root, 'none'), { denoisedFn: half })).rejects.toThrow(FileFormatError);
});
