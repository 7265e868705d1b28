import { expect, test } from 'vitest';
import { GaussianDiffusion } from '../../lib/diffusion/gaussian.js';
import { NoiseSchedule } from '../../lib/diffusion/schedule.js';
import { reshape, scale } from '../../lib/ops/index.js';
import type { SamplerOptions } from '../../lib/sampling/options.js';
import { Sampler } from '../../lib/sampling/sampler.js';
import type { Tensor } from '../../lib/tensor.js';
import { eachDevice } from '../support/devices.js';
import { randomValues } from '../support/values.js';

const cases: { name: string; options: SamplerOptions; dynamic?: boolean }[] = [
  { name: 'ddpm', options: { method: 'ddpm', steps: 5 } },
  { name: 'ddim', options: { method: 'ddim', steps: 5, eta: 0.5 } },
  { name: 'dpmSolver++', options: { method: 'dpmSolver++', steps: 5 } },
  { name: 'ddim with dynamic thresholds', options: { method: 'ddim', steps: 5 }, dynamic: true },
];

eachDevice((id, open) => {
  test.each(cases)(`a model on ${id} may put out the memory that it was given: $name`, async ({ options, dynamic }) => {
    const device = await open();
    const threshold = dynamic ? { dynamicThreshold: { max: 2 } } : {};
    using diffusion = new GaussianDiffusion(device, NoiseSchedule.linear({ timesteps: 20 }), threshold);
    using initial = device.tensor(randomValues(3 * 5 * 7 * 3, 1), [3, 5, 7, 3]);
    const sampled = async (model: (xt: Tensor) => Tensor) => {
      using sampler = new Sampler(diffusion, model, options);
      const found: Float32Array[] = [];
      for await (const { x } of sampler.steps({ initial, seed: 2 })) found.push((await x.read()) as Float32Array);
      return found;
    };
    const copied = await sampled((xt) => scale(xt, 1));
    expect(await sampled((xt) => xt)).toEqual(copied);
    expect(await sampled((xt) => reshape(xt, xt.shape))).toEqual(copied);
    // One that keeps the memory of the step before, and puts it out once more.
    let kept: Tensor | undefined;
    const stubborn = await sampled((xt) => {
      const before = kept ?? reshape(xt, xt.shape);
      kept = device.unscoped(() => reshape(xt, xt.shape));
      return before;
    });
    expect(stubborn.flatMap((values) => [...values]).every(Number.isFinite)).toBe(true);
  });
});
