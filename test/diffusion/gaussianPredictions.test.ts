import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../../lib/device.js';
import { GaussianDiffusion } from '../../lib/diffusion/gaussian.js';
import { NoiseSchedule } from '../../lib/diffusion/schedule.js';
import type { Prediction } from '../../lib/diffusion/tables.js';
import { eachDevice } from '../support/devices.js';
import { type GoldenTensor, loadGolden, loadGoldenJson } from '../support/golden.js';
import { sharedGolden } from '../support/shared.js';
import { randomValues } from '../support/values.js';
import { misfit, upload, values } from './process.js';

interface LucidrainsCase {
  id: string;
  schedule: string;
  T: number;
  objective: 'pred_noise' | 'pred_x0' | 'pred_v';
  min_snr: boolean;
}

const predictions: Record<LucidrainsCase['objective'], Prediction> = {
  pred_noise: 'epsilon',
  pred_x0: 'sample',
  pred_v: 'v',
};
const folder = sharedGolden && join(sharedGolden, 'process');

eachDevice((_, open) => {
  let device: Device;
  beforeAll(async () => {
    device = await open();
  });

  describe('one process, three predictions', () => {
    const shape = [3, 5, 3, 2];
    const t = [0, 57, 99];
    const make = (prediction: Prediction) =>
      new GaussianDiffusion(device, NoiseSchedule.linear({ timesteps: 100, betaEnd: 0.1 }), { prediction, clipDenoised: false });

    async function bySample(): Promise<Record<Prediction, Float32Array[]>> {
      const x0 = device.tensor(randomValues(90, 1), shape);
      const noise = device.tensor(randomValues(90, 2), shape);
      const { xt } = make('epsilon').qSample(x0, t, { noise });
      const { signal, spread } = coefficients(make('v').schedule, t);
      const [image, drawn] = [randomValues(90, 1), randomValues(90, 2)];
      const v = image.map((x, i) => (signal[Math.floor(i / 30)] ?? 0) * (drawn[i] ?? 0) - (spread[Math.floor(i / 30)] ?? 0) * x);
      const outputs = { epsilon: noise, sample: x0, v: device.tensor(v, shape) };
      const result = {} as Record<Prediction, Float32Array[]>;
      for (const prediction of ['epsilon', 'sample', 'v'] as const) {
        const { mean, predXStart } = make(prediction).pMeanVariance(outputs[prediction], xt, t);
        result[prediction] = [(await mean.read()) as Float32Array, (await predXStart.read()) as Float32Array];
      }
      return result;
    }

    test('give the same mean and x_0', async () => {
      const { epsilon, sample, v } = await bySample();
      // x_0 from ε loses 1/√ᾱ, at most 13 here, in digits.
      const limit = 13 * 2 ** -24 * 16;
      for (const [i, reference] of sample.entries()) {
        for (const other of [epsilon, v])
          expect(misfit(other[i] as Float32Array, { shape, values: reference }, limit)).toBeLessThanOrEqual(1);
      }
    });
  });

  describe.skipIf(folder === null)('against denoising-diffusion-pytorch', () => {
    const at = (name: string) => join(folder ?? '', name);
    const cases = folder ? loadGoldenJson<{ cases: LucidrainsCase[] }>(at('lucidrains.json')).cases : [];
    // Its sigmoid schedule is another one.
    const ours = cases.filter((example) => example.schedule !== 'sigmoid' && !example.min_snr);
    let golden: Map<string, GoldenTensor>;
    beforeAll(async () => {
      golden = await loadGolden(at('lucidrains.safetensors'));
    });

    test.each(ours)('$id', async ({ id, schedule, T: timesteps, objective }) => {
      const reference = (name: string) => golden.get(`${id}/${name}`) as GoldenTensor;
      const input = (name: string) => upload(device, reference(name));
      const t = Array.from(reference('t').values);
      const noise = schedule === 'linear' ? NoiseSchedule.linear({ timesteps }) : NoiseSchedule.cosine({ timesteps });
      for (const clipDenoised of [true, false]) {
        const diffusion = new GaussianDiffusion(device, noise, { prediction: predictions[objective], clipDenoised });
        const { mean, variance, predXStart } = diffusion.pMeanVariance(input('model_output'), input('x_t'), t);
        const suffix = clipDenoised ? 'clip' : 'noclip';
        expect(misfit(await values(predXStart), reference(`pred_xstart_${suffix}`), 1e-5)).toBeLessThanOrEqual(1);
        expect(misfit(await values(mean), reference(`mean_${suffix}`), 1e-5)).toBeLessThanOrEqual(1);
        expect(misfit(await values(variance), reference('variance'), 1e-5)).toBeLessThanOrEqual(1);
      }
      const diffusion = new GaussianDiffusion(device, noise, { prediction: predictions[objective] });
      const { mse } = diffusion.trainingLosses(() => input('model_output'), input('x_start'), t, { noise: input('noise') });
      const weights = reference('loss_weight').values;
      const loss = reference('loss').values.map((value, n) => value / (weights[n] as number));
      expect(misfit(await values(mse), { shape: [loss.length], values: loss }, 2e-4, 2e-6)).toBeLessThanOrEqual(1);
    });
  });
});

function coefficients(schedule: NoiseSchedule, t: number[]): { signal: number[]; spread: number[] } {
  const alphaBars = t.map((step) => schedule.alphasCumprod[step] as number);
  return { signal: alphaBars.map(Math.sqrt), spread: alphaBars.map((alphaBar) => Math.sqrt(1 - alphaBar)) };
}
