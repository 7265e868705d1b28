import { describe, expect, test } from 'vitest';
import { GaussianDiffusion } from '../../lib/diffusion/gaussian.js';
import type { GaussianDiffusionOptions } from '../../lib/diffusion/gaussianOptions.js';
import { NoiseSchedule } from '../../lib/diffusion/schedule.js';
import { concat, scale } from '../../lib/ops/index.js';
import { Sampler } from '../../lib/sampling/sampler.js';
import type { Tensor } from '../../lib/tensor.js';
import { maxAbs } from '../support/compare.js';
import { eachDevice } from '../support/devices.js';

const count = 3;
const shape = [count, 3, 5, 2];
const schedule = NoiseSchedule.linear({ timesteps: 7, betaEnd: 0.3 });
const denoisedFn = (start: Tensor) => scale(start, 0.7, 0.2);
const settings: GaussianDiffusionOptions[] = (['epsilon', 'sample', 'v', 'previous'] as const).flatMap((prediction) => [
  { prediction },
  { prediction, denoisedFn },
  { prediction, denoisedFn, variance: 'learnedRange' },
  { prediction, denoisedFn, clipDenoised: false, variance: 'learned' },
]);

eachDevice((_, open) => {
  describe.each([
    ['ddpm', 'pSample'],
    ['ddim', 'ddimSample'],
  ] as const)('%s over all steps is a loop over %s', (method, step) => {
    test.each(settings)('%o', async (options) => {
      const device = await open();
      using diffusion = new GaussianDiffusion(device, schedule, options);
      const learned = options.variance?.startsWith('learned');
      const model = (xt: Tensor) =>
        learned ? device.scope(() => concat(scale(xt, 0.3, 0.1), scale(xt, -0.3, 0.2))) : scale(xt, 0.3, 0.1);
      const eta = method === 'ddim' ? 0.4 : 0;
      const noises = Array.from(schedule.betas, (_, k) => device.randn(shape, { seed: 5 + k }));
      const initial = device.randn(shape, { seed: 4 });
      using sampler = new Sampler(diffusion, model, { method, eta, steps: schedule.length });
      let x = initial.alias();
      let t = schedule.length;
      for await (const item of sampler.steps({ initial, noises })) {
        const noise = noises[schedule.length - t] as Tensor;
        t--;
        const given = { noise, ...(method === 'ddim' && { eta }) };
        const { sample, predXStart } = diffusion[step](model(x), x, new Int32Array(count).fill(t), given);
        expect(maxAbs(await item.predXStart.read(), await predXStart.read()), `x_0 at t = ${t}`).toBeLessThan(5e-6);
        expect(maxAbs(await item.x.read(), await sample.read()), `x after t = ${t}`).toBeLessThan(5e-6);
        x = sample;
      }
      expect(t).toBe(0);
    });
  });
});
