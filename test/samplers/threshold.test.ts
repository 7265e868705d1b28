import { expect, test } from 'vitest';
import { GaussianDiffusion } from '../../lib/diffusion/gaussian.js';
import { NoiseSchedule } from '../../lib/diffusion/schedule.js';
import { scale } from '../../lib/ops/elementwise.js';
import { concat } from '../../lib/ops/layout.js';
import { Sampler } from '../../lib/sampling/sampler.js';
import type { Tensor } from '../../lib/tensor.js';
import { maxAbs } from '../support/compare.js';
import { eachDevice } from '../support/devices.js';

const count = 3;
const shape = [count, 4, 5, 3];

eachDevice((id, open) => {
  test('dynamic thresholds and learned variances are those of single reverse steps', async () => {
    const device = await open();
    const schedule = NoiseSchedule.linear({ timesteps: 6 });
    using diffusion = new GaussianDiffusion(device, schedule, {
      variance: 'learnedRange',
      dynamicThreshold: { ratio: 0.9, max: 1.7 },
    });
    const model = (xt: Tensor) => device.scope(() => concat(scale(xt, 0.2, 0.1), scale(xt, -0.3, 0.2)));
    const initial = device.randn(shape, { seed: 4 });
    const noises = Array.from(schedule.betas, (_, k) => device.randn(shape, { seed: 5 + k }));
    let x = scale(initial, 2);
    const start = x.alias();
    for (let t = 5, k = 0; t >= 0; t--, k++)
      x = diffusion.pSample(model(x), x, new Int32Array(count).fill(t), { noise: noises[k] as Tensor }).sample;
    using sampler = new Sampler(diffusion, model, { method: 'ddpm' });
    using images = await sampler.sample({ initial: start, noises: noises.slice(0, 5) });
    expect(maxAbs(await images.read(), await x.read())).toBeLessThan(id === 'cuda' ? 1e-5 : 2e-6);
    using clipped = new GaussianDiffusion(device, schedule, { variance: 'learnedRange' });
    using other = new Sampler(clipped, model, { method: 'ddpm' });
    using different = await other.sample({ initial: start, noises: noises.slice(0, 5) });
    expect(maxAbs(await different.read(), await x.read())).toBeGreaterThan(1e-3);
  });
});
