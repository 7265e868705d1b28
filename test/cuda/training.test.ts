import { expect, test } from 'vitest';
import { AdamW, backward, type Device, mseLoss, Sampler, UNet } from '../../lib/index.js';
import { eachDevice } from '../support/devices.js';
import { bitsOf, hashOf, take, tinyTrainer } from '../train/tiny.js';
import { library, openCounted } from './counted.js';

/** Bits of a few training steps and of what is sampled afterwards. */
async function train(device: Device) {
  const trainer = tinyTrainer(device, { batchSize: 2 });
  const progress = await take(trainer, 4);
  const sampler = new Sampler(trainer.diffusion, trainer.ema, { method: 'ddim', steps: 4 });
  const images = await (await sampler.sample({ count: 2, seed: 2 })).read();
  const bits = await bitsOf(trainer);
  trainer.dispose();
  return { progress, bits, images: hashOf(images as Float32Array) };
}

test.skipIf(library === null)(
  'a training step and a sampler step as graphs have the bits of their commands one by one',
  async () => {
    const results: unknown[] = [];
    for (const plan of ['sound', 'noCapture'] as const) {
      const device = await openCounted(plan);
      results.push(await train(device));
      await device.close();
    }
    expect(results[0]).toEqual(results[1]);
  },
);

eachDevice((_id, open) => {
  test('a recorded step with a class that does not exist changes no weight, says why, and the next one trains', async () => {
    const device = await open();
    const options = { imageSize: 8, baseChannels: 8, channelMults: [1], resBlocks: 1, attentionResolutions: [], numClasses: 3 };
    const model = new UNet(device, options);
    const optimizer = new AdamW(model.parameters(), { learningRate: 1e-2 });
    const x = device.randn([2, 8, 8, 3], { seed: 1 });
    const labels = device.tensor(Int32Array.of(0, 2), [2]);
    const target = device.full([2, 8, 8, 3], 1);
    const weights = async () => Promise.all([...model.parameters().values()].map((parameter) => parameter.read()));
    const step = () => {
      optimizer.zeroGrad();
      const loss = mseLoss(model.forward(x, [1, 2], { labels, train: true }), target);
      backward(loss);
      optimizer.enqueue();
      return loss;
    };
    optimizer.prepare();
    const program = device.record(() => device.scope(step));
    const run = () => {
      optimizer.prepare();
      program.run();
    };
    run();
    await program.result.read();
    const before = await weights();
    labels.write(Int32Array.of(0, 3));
    run();
    run(); // another in flight before the first is known to have failed
    await expect(program.result.read()).rejects.toThrow(/embedding.*3/);
    await expect(optimizer.gradientNorm.read()).rejects.toThrow(/embedding.*3/);
    expect(await weights()).toEqual(before);
    labels.write(Int32Array.of(0, 1));
    run();
    expect(Number.isFinite((await program.result.read())[0])).toBe(true);
    const after = await weights();
    expect(after).not.toEqual(before);
    for (const values of after) expect(values.every(Number.isFinite)).toBe(true);
    program.dispose();
  });
});
