import { beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../../lib/device.js';
import { GaussianDiffusion } from '../../lib/diffusion/gaussian.js';
import { NoiseSchedule } from '../../lib/diffusion/schedule.js';
import { eachDevice } from '../support/devices.js';
import { randomValues } from '../support/values.js';
import { misfit } from './process.js';

/** Predictions that can be had from each other at every step. */
type Direct = 'epsilon' | 'sample' | 'v';

eachDevice((_, open) => {
  let device: Device;
  beforeAll(async () => {
    device = await open();
  });

  describe('one process, three predictions', () => {
    const shape = [3, 5, 3, 2];
    const t = [0, 57, 99];
    const make = (prediction: Direct) =>
      new GaussianDiffusion(device, NoiseSchedule.linear({ timesteps: 100, betaEnd: 0.1 }), { prediction, clipDenoised: false });

    async function bySample(): Promise<Record<Direct, Float32Array[]>> {
      const x0 = device.tensor(randomValues(90, 1), shape);
      const noise = device.tensor(randomValues(90, 2), shape);
      const { xt } = make('epsilon').qSample(x0, t, { noise });
      const { signal, spread } = coefficients(make('v').schedule, t);
      const [image, drawn] = [randomValues(90, 1), randomValues(90, 2)];
      const v = image.map((x, i) => (signal[Math.floor(i / 30)] ?? 0) * (drawn[i] ?? 0) - (spread[Math.floor(i / 30)] ?? 0) * x);
      const outputs = { epsilon: noise, sample: x0, v: device.tensor(v, shape) };
      const result = {} as Record<Direct, Float32Array[]>;
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
});

function coefficients(schedule: NoiseSchedule, t: number[]): { signal: number[]; spread: number[] } {
  const alphaBars = t.map((step) => schedule.alphasCumprod[step] as number);
  return { signal: alphaBars.map(Math.sqrt), spread: alphaBars.map((alphaBar) => Math.sqrt(1 - alphaBar)) };
}
