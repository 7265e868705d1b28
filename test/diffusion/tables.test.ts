import { expect, test } from 'vitest';
import { GaussianDiffusion, NoiseSchedule, openDevice } from '../../lib/index.js';

test('a process that is asked for ever new etas does not keep a table for each', async () => {
  const device = await openDevice('cpu', { threads: 1 });
  const diffusion = new GaussianDiffusion(device, NoiseSchedule.linear());
  const x = device.zeros([1, 2, 2, 3]);
  const sampleWith = (eta: number) => {
    for (const tensor of Object.values(diffusion.ddimSample(x, x, [500], { eta, seed: 1 }))) tensor.dispose();
  };
  for (let i = 0; i < 50; i++) sampleWith(i / 400);
  const { usedBytes } = device.memory();
  for (let i = 50; i < 400; i++) sampleWith(i / 400);
  expect(device.memory().usedBytes).toBe(usedBytes);
  await device.close();
});
