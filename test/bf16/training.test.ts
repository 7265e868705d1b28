import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Parameter } from '../../lib/autograd/parameter.js';
import type { Device } from '../../lib/device.js';
import { openDevice } from '../../lib/openDevice.js';
import { Sampler } from '../../lib/sampling/sampler.js';
import { Trainer } from '../../lib/training/trainer.js';
import type { TrainerOptions } from '../../lib/training/trainerOptions.js';
import { eachDevice, openForBf16 } from '../support/devices.js';
import { temporaryFolder } from '../support/temporaryFolder.js';
import { take, tinyData, tinyModel, tinyTrainer } from '../train/tiny.js';

const root = temporaryFolder();
const steps = 20;

function trainerOf(device: Device, dtype: 'f32' | 'bf16', options: Partial<TrainerOptions> = {}): Trainer {
  const model = tinyModel(device, { dropout: 0.1, dtype });
  return tinyTrainer(device, { model, batchSize: 2, ...options });
}

eachDevice((id, open) => {
  let progress: Promise<[loss: number, gradientNorm: number][]> | undefined;
  /** Of an uninterrupted run in bf16. */
  const uninterrupted = (device: Device) => {
    progress ??= take(trainerOf(device, 'bf16'), steps);
    return progress;
  };

  test(`twenty steps in bf16 on ${id} track those in f32`, async (context) => {
    const device = await openForBf16(open, context);
    const processor = await openDevice('cpu', { threads: 1 });
    const exact = await take(trainerOf(processor, 'f32'), steps);
    await processor.close();
    const rounded = await uninterrupted(device);
    const differences = rounded.map(([loss], i) => Math.abs(loss / (exact[i]?.[0] as number) - 1));
    expect(Math.max(...differences)).toBeLessThan(2e-2); // as far as the network's output may be off
    expect(Math.max(...differences)).toBeGreaterThan(1e-6); // it is not f32 that ran
  }, 600_000);

  test(`a run in bf16 on ${id} that was stopped and resumed is the uninterrupted one, bit for bit`, async (context) => {
    const device = await openForBf16(open, context);
    const directory = join(root, id);
    using first = trainerOf(device, 'bf16', { directory });
    const taken = await take(first, 2);
    await first.save();
    using again = await Trainer.resume(directory, { device, data: tinyData() });
    expect([again.model.config.dtype, again.ema.config.dtype]).toEqual(['bf16', 'bf16']);
    taken.push(...(await take(again, 2)));
    expect(taken).toEqual((await uninterrupted(device)).slice(0, 4));
  }, 600_000);

  test(`weights on ${id} that are written between steps count in the next one, and in samples`, async (context) => {
    const device = await openForBf16(open, context);
    using trainer = trainerOf(device, 'bf16');
    using blind = trainerOf(device, 'bf16', { learningRate: 0 }); // its last layer stays zero
    await take(trainer, 1);
    // Once the last layer is zero again, nothing is predicted, and the loss is that of the noise alone.
    const clear = () => {
      for (const name of ['conv_out.weight', 'conv_out.bias']) {
        const parameter = trainer.model.parameters().get(name) as Parameter;
        parameter.write(new Float32Array(parameter.value.size));
      }
    };
    clear();
    const [[loss]] = (await take(trainer, 1)) as [[number, number]];
    expect(loss).toBe((await take(blind, 2))[1]?.[0]);

    using sampler = new Sampler(trainer.diffusion, trainer.model, { method: 'ddim', steps: 2 });
    const draw = async (batchSize: number) => (await sampler.sample({ count: 3, seed: 2, batchSize })).read();
    const images = await draw(3);
    expect(await draw(2)).toEqual(images); // the same bits: no sum of a sample depends on its batch
    clear();
    using none = new Sampler(trainer.diffusion, blind.model, { method: 'ddim', steps: 2 });
    const cleared = await draw(3);
    expect(cleared).not.toEqual(images);
    expect(cleared).toEqual(await (await none.sample({ count: 3, seed: 2 })).read());
  }, 600_000);
});
