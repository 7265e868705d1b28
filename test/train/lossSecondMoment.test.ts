import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type Device, GaussianDiffusion, LossSecondMomentSampler, NoiseSchedule, Trainer } from '../../lib/index.js';
import { eachDevice } from '../support/devices.js';
import { bitsOf, take, tinyData, tinyModel, tinyTrainer } from './tiny.js';

eachDevice((id, open) => {
  const make = (device: Device, timesteps = 5) =>
    new GaussianDiffusion(device, NoiseSchedule.linear({ timesteps }), { timestepSampler: 'lossSecondMoment', loss: 'kl' });

  test('draws uniformly until ten losses of each step are known, then by the root of their second moments', async () => {
    const device = await open();
    using diffusion = make(device);
    using sampler = new LossSecondMomentSampler(diffusion);
    const first = sampler.draw(2000, { seed: 3 });
    expect(new Set(await first.weights.read())).toEqual(new Set([1]));
    for (let k = 0; k < 10; k++)
      for (let t = 0; t < 5; t++) sampler.record([t], device.tensor([t === 4 && k === 0 ? 99 : t + (k % 2)], [1]));
    sampler.record([4], device.tensor([4], [1])); // the oldest, 99, leaves
    const { losses, counts } = await sampler.read();
    expect([...counts]).toEqual([10, 10, 10, 10, 10]);
    expect([...losses.subarray(40)]).toEqual([5, 4, 5, 4, 5, 4, 5, 4, 5, 4]);
    const roots = [0, 1, 2, 3, 4].map((t) => Math.sqrt((t * t + (t + 1) ** 2) / 2));
    const total = roots.reduce((sum, root) => sum + root, 0);
    const p = roots.map((root) => (0.999 * root) / total + 0.001 / 5);
    const drawn = sampler.draw(4000, { seed: 4 });
    const [t, weights] = [await drawn.t.read(), await drawn.weights.read()];
    const seen = new Float64Array(5);
    t.forEach((step, n) => {
      seen[step] = (seen[step] as number) + 1 / 4000;
      expect(Math.abs((weights[n] as number) * 5 * (p[step] as number) - 1)).toBeLessThan(1e-5);
    });
    // Five standard errors of a share.
    seen.forEach((share, step) => {
      expect(Math.abs(share - (p[step] as number))).toBeLessThan(5 * Math.sqrt(0.25 / 4000));
    });
  });

  test.skipIf(id !== 'cpu')('a run resumes bit for bit with the losses it remembers', async () => {
    const device = await open();
    const folder = mkdtempSync(join(tmpdir(), 'moments-'));
    const trainerOf = (directory?: string) =>
      tinyTrainer(device, { diffusion: make(device), batchSize: 8, microBatch: 4, ...(directory && { directory }) });
    try {
      const whole = trainerOf();
      const losses = await take(whole, 24); // 24·8 draws fill 5·10 places
      const half = trainerOf(folder);
      await take(half, 16);
      await half.save();
      const again = await Trainer.resume(folder, { device, data: tinyData() });
      expect(again.diffusion.timestepSampler).toBe('lossSecondMoment');
      expect(await take(again, 8)).toEqual(losses.slice(16));
      expect(await bitsOf(again)).toEqual(await bitsOf(whole));
      for (const trainer of [whole, half, again]) trainer.dispose();
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test.skipIf(id !== 'cpu')('a run with a learned variance resumes with all its options', async () => {
    const device = await open();
    const folder = mkdtempSync(join(tmpdir(), 'learned-'));
    const options = {
      prediction: 'v',
      variance: 'learnedRange',
      loss: 'rescaledMse',
      lossWeighting: 'minSnr',
      minSnrGamma: 3,
    } as const;
    const more = { dynamicThreshold: { ratio: 0.9, max: 2 }, rescaleTimesteps: true };
    try {
      const diffusion = new GaussianDiffusion(device, NoiseSchedule.cosine({ timesteps: 20 }), { ...options, ...more });
      const model = tinyModel(device, { outChannels: 6 });
      const trainer = tinyTrainer(device, { model, diffusion, directory: folder });
      await take(trainer, 2);
      await trainer.save();
      const again = await Trainer.resume(folder, { device, data: tinyData() });
      expect(again.diffusion).toMatchObject({ ...options, ...more });
      expect(await take(again, 2)).toEqual(await take(trainer, 2));
      const single = { model: tinyModel(device), diffusion };
      expect(() => tinyTrainer(device, single)).toThrow(
        /the model turns 3 channels into 3; with variance 'learnedRange' they must be twice as many/,
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
