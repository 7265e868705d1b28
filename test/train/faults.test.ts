import { afterAll, beforeAll, expect, test } from 'vitest';
import { AdamW, backward, type Device, mseLoss, openDevice, UNet } from '../../lib/index.js';

let device: Device;
beforeAll(async () => {
  device = await openDevice('cpu', { threads: 1 });
});
afterAll(() => device.close());

test('a step that fails on the device changes no weight, says why, and the next one trains', async () => {
  const options = { imageSize: 8, baseChannels: 8, channelMults: [1], resBlocks: 1, attentionResolutions: [], numClasses: 3 };
  const model = new UNet(device, options);
  const optimizer = new AdamW(model.parameters(), { learningRate: 1e-2 });
  const x = device.randn([2, 8, 8, 3], { seed: 1 });
  const labels = device.tensor(Int32Array.of(0, 2), [2]);
  const weights = async () => Promise.all([...model.parameters().values()].map((parameter) => parameter.read()));
  const step = () => {
    optimizer.zeroGrad();
    const loss = mseLoss(model.forward(x, [1, 2], { labels, train: true }), device.full([2, 8, 8, 3], 1));
    backward(loss);
    optimizer.step();
    return loss.read();
  };
  await step();
  const before = await weights();
  labels.write(Int32Array.of(0, 3)); // only the executor can see that there is no class 3
  await expect(step()).rejects.toThrow(/embedding.*3/);
  await expect(optimizer.gradientNorm.read()).rejects.toThrow(/embedding.*3/);
  expect(await weights()).toEqual(before);
  labels.write(Int32Array.of(0, 1));
  expect(Number.isFinite((await step())[0])).toBe(true);
  expect(await weights()).not.toEqual(before);
  for (const values of await weights()) expect(values.every(Number.isFinite)).toBe(true);
});
