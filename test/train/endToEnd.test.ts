import { expect, test } from 'vitest';
import { openDevice, Sampler } from '../../lib/index.js';
import { relL2 } from '../support/compare.js';
import { eachDevice } from '../support/devices.js';
import { take, tinyTrainer } from './tiny.js';

const steps = 20;
const sampling = { count: 3, seed: 2 };

/** Losses and norms of a tiny run, and pictures from its averaged weights. */
async function run(device: Awaited<ReturnType<typeof openDevice>>) {
  const trainer = tinyTrainer(device, { batchSize: 2 });
  const progress = await take(trainer, steps);
  const sampler = new Sampler(trainer.diffusion, trainer.ema, { method: 'ddim', steps: 5 });
  const images = (await (await sampler.sample(sampling)).read()) as Float32Array;
  trainer.dispose();
  return { progress, images };
}

// A recorded step replayed nineteen times, then a recorded sampler step: every operation of training and sampling.
eachDevice((_id, open) => {
  test('a tiny training and what it samples are those of the processor', async () => {
    const device = await open();
    const processor = await openDevice('cpu', { threads: 1 });
    const [expected, got] = [await run(processor), await run(device)];
    await processor.close();
    expect(got.progress).toHaveLength(steps);
    for (const [i, [loss, norm]] of got.progress.entries()) {
      const [expectedLoss, expectedNorm] = expected.progress[i] as [number, number];
      expect(Math.abs(loss / expectedLoss - 1), `loss of step ${i + 1}`).toBeLessThan(1e-6);
      expect(Math.abs(norm / expectedNorm - 1), `norm of step ${i + 1}`).toBeLessThan(1e-5);
    }
    expect(relL2(got.images, expected.images)).toBeLessThan(1e-5);
  });

  test('two runs give the same bits', async () => {
    const device = await open();
    expect(await run(device)).toEqual(await run(device));
  }, 300_000);
});
