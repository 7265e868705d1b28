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

/** x_0 of one sample within its dynamic bound. */
function bounded(start: number[], ratio: number, max: number): number[] {
  const sizes = start.map(Math.abs).toSorted((a, b) => a - b);
  const place = ratio * (sizes.length - 1);
  const [low, high] = [sizes[Math.floor(place)] as number, sizes[Math.ceil(place)] as number];
  const bound = Math.min(Math.max(low + (place % 1) * (high - low), 1), max);
  return start.map((value) => Math.min(Math.max(value, -bound), bound) / bound);
}

eachDevice((id, open) => {
  test('solvers of ε go on from what the bounded x_0 leaves', async () => {
    const device = await open();
    const [ratio, max] = [0.8, 1.5];
    const config = {
      ...{ _class_name: 'DPMSolverMultistepScheduler', algorithm_type: 'dpmsolver', solver_order: 1, beta_end: 0.01 },
      ...{ thresholding: true, dynamic_thresholding_ratio: ratio, sample_max_value: max, final_sigmas_type: 'sigma_min' },
    };
    using sampler = Sampler.fromDiffusers(config, device, (x) => scale(x, 0.5), { steps: 4 });
    const sigmas = sampler.sigmas as Float64Array;
    const initial = device.randn(shape, { seed: 4 });
    const size = initial.size / count;
    let x = [...((await initial.read()) as Float32Array)];
    let k = 0;
    for await (const step of sampler.steps({ initial })) {
      const [sigma, next] = [sigmas[k] as number, sigmas[k + 1] as number];
      const [alpha, alphaNext] = [1 / Math.sqrt(sigma * sigma + 1), 1 / Math.sqrt(next * next + 1)];
      const start = x.map((value) => (value - sigma * alpha * 0.5 * value) / alpha);
      const starts = Array.from({ length: count }, (_, n) => bounded(start.slice(n * size, (n + 1) * size), ratio, max)).flat();
      const noise = x.map((value, i) => (value - alpha * (starts[i] as number)) / (sigma * alpha));
      x = x.map((value, i) => (alphaNext / alpha) * value - next * alphaNext * (sigma / next - 1) * (noise[i] as number));
      const tolerance = (id === 'cuda' ? 2e-5 : 5e-6) * Math.max(...x.map(Math.abs));
      expect(maxAbs(await step.x.read(), x), `x after step ${++k}`).toBeLessThan(tolerance);
      expect(maxAbs(await step.predXStart.read(), starts)).toBeLessThan(tolerance);
      expect(maxAbs(starts, start)).toBeGreaterThan(0.01);
    }
    expect(k).toBe(4);
  });
});
