import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Parameter } from '../../lib/autograd/parameter.js';
import type { Device } from '../../lib/device.js';
import { Sampler } from '../../lib/sampling/sampler.js';
import { Trainer } from '../../lib/training/trainer.js';
import type { TrainerOptions } from '../../lib/training/trainerOptions.js';
import { relL2 } from '../support/compare.js';
import { eachDevice } from '../support/devices.js';
import { temporaryFolder } from '../support/temporaryFolder.js';
import { bitsOf, take, tinyData, tinyModel, tinyTrainer } from '../train/tiny.js';

const root = temporaryFolder();
const sampling = { count: 3, seed: 2 };

function trainerOf(device: Device, dtype: 'f32' | 'bf16', options: Partial<TrainerOptions> = {}): Trainer {
  const model = tinyModel(device, { dropout: 0.1, dtype });
  return tinyTrainer(device, { model, batchSize: 2, ...options });
}

/** Losses and norms of twenty steps, and pictures from the averaged weights, in two batches. */
async function run(device: Device, dtype: 'f32' | 'bf16') {
  using trainer = trainerOf(device, dtype);
  const progress = await take(trainer, 20);
  expect(trainer.ema.config.dtype).toBe(dtype);
  using sampler = new Sampler(trainer.diffusion, trainer.ema, { method: 'ddim', steps: 5 });
  const images = (await (await sampler.sample({ ...sampling, batchSize: 3 })).read()) as Float32Array;
  const inTwo = (await (await sampler.sample({ ...sampling, batchSize: 2 })).read()) as Float32Array;
  expect(inTwo).toEqual(images); // no sample depends on its batch
  return { progress, images };
}

eachDevice((id, open) => {
  test(`twenty steps in bf16 on ${id} track those in f32, and repeat bit for bit`, async (context) => {
    const device = await open();
    if (!device.info.bf16) return context.skip(`${id} does not compute in bf16`);
    const [exact, rounded] = [await run(device, 'f32'), await run(device, 'bf16')];
    for (const [i, [loss, norm]] of rounded.progress.entries()) {
      const [expectedLoss, expectedNorm] = exact.progress[i] as [number, number];
      expect(Math.abs(loss / expectedLoss - 1), `loss of step ${i + 1}`).toBeLessThan(2e-2);
      expect(Math.abs(norm / expectedNorm - 1), `norm of step ${i + 1}`).toBeLessThan(5e-2);
    }
    expect(rounded.progress).not.toEqual(exact.progress);
    expect(relL2(rounded.images, exact.images)).toBeLessThan(5e-2);
    expect(await run(device, 'bf16')).toEqual(rounded);
  }, 300_000);

  test(`a run in bf16 on ${id} that was stopped and resumed is the uninterrupted one`, async (context) => {
    const device = await open();
    if (!device.info.bf16) return context.skip(`${id} does not compute in bf16`);
    using whole = trainerOf(device, 'bf16');
    const expected = await take(whole, 5);
    const directory = join(root, id);
    using first = trainerOf(device, 'bf16', { directory });
    const losses = await take(first, 2);
    await first.save();
    using again = await Trainer.resume(directory, { device, data: tinyData() });
    expect([again.model.config.dtype, again.ema.config.dtype]).toEqual(['bf16', 'bf16']);
    losses.push(...(await take(again, 3)));
    expect(losses).toEqual(expected);
    expect(await bitsOf(again)).toEqual(await bitsOf(whole));
  });

  test(`weights on ${id} that are written between steps count in the next one`, async (context) => {
    const device = await open();
    if (!device.info.bf16) return context.skip(`${id} does not compute in bf16`);
    using trainer = trainerOf(device, 'bf16');
    using blind = trainerOf(device, 'bf16', { learningRate: 0 }); // its last layer stays zero
    await take(trainer, 2);
    for (const name of ['conv_out.weight', 'conv_out.bias']) {
      const parameter = trainer.model.parameters().get(name) as Parameter;
      parameter.write(new Float32Array(parameter.value.size));
    }
    const [[loss]] = (await take(trainer, 1)) as [[number, number]];
    expect(loss).toBe((await take(blind, 3))[2]?.[0]);
  });
});
