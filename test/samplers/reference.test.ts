import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../../lib/device.js';
import { GaussianDiffusion } from '../../lib/diffusion/gaussian.js';
import { NoiseSchedule } from '../../lib/diffusion/schedule.js';
import { openDevice } from '../../lib/openDevice.js';
import { scale } from '../../lib/ops/index.js';
import { streams } from '../../lib/random.js';
import type { SamplerOptions } from '../../lib/sampling/options.js';
import { Sampler } from '../../lib/sampling/sampler.js';
import { relL2 } from '../support/compare.js';
import { tinyCoefficients, tinyModel, tinyParameters } from '../support/tinyModel.js';

let device: Device;
beforeAll(async () => {
  device = await openDevice('cpu');
});
afterAll(() => device.close());

const seed = 2 ** 40 + 17;
const shape = [3, 5, 3, 2] as const;
const schedule = NoiseSchedule.linear({ timesteps: 60, betaEnd: 0.2 });

/** The draws of a seed: x_T, or the noise of step k. */
async function draws(stream: number, step: number): Promise<Float64Array> {
  using state = device.tensor(Int32Array.of(seed % 2 ** 32, Math.floor(seed / 2 ** 32), step, 0), [4]);
  using noise = device.randn(shape, { seed: state, stream });
  return Float64Array.from((await noise.read()) as Float32Array);
}

interface Process {
  prediction: 'epsilon' | 'sample' | 'v';
  variance: 'fixedSmall' | 'fixedLarge';
  clip: boolean;
  /** Whether x_0 is changed to 0.8·x_0 + 0.1. */
  denoised?: boolean;
}

/** The samplers written out in float64: Ho et al. 2020, equations 6 and 7; Song et al. 2021, equations 12 and 16. */
async function reference(kept: number[], process: Process, { method, eta = 0, useClippedModelOutput = true }: SamplerOptions) {
  const { prediction, variance, clip, denoised } = process;
  let x = await draws(streams.initialSample, 0);
  const alphaBarOf = (i: number) => (i < 0 ? 1 : (schedule.alphasCumprod[kept[i] as number] as number));
  for (let i = kept.length - 1, k = 0; i >= 0; i--, k++) {
    const [g, h] = tinyCoefficients(tinyParameters, kept[i] as number);
    const [alphaBar, before] = [alphaBarOf(i), alphaBarOf(i - 1)];
    const alpha = alphaBar / before;
    const posterior = ((1 - before) / (1 - alphaBar)) * (1 - alpha);
    const noise = i > 0 ? await draws(streams.samplerNoise, k) : new Float64Array(x.length);
    x = x.map((value, at) => {
      const output = g * value + h;
      let x0 = output;
      if (prediction === 'epsilon') x0 = (value - Math.sqrt(1 - alphaBar) * output) / Math.sqrt(alphaBar);
      if (prediction === 'v') x0 = Math.sqrt(alphaBar) * value - Math.sqrt(1 - alphaBar) * output;
      const said = x0;
      if (denoised) x0 = 0.8 * x0 + 0.1;
      if (clip) x0 = Math.min(1, Math.max(-1, x0));
      const z = noise[at] as number;
      if (method === 'ddim') {
        const epsilon = (value - Math.sqrt(alphaBar) * (useClippedModelOutput ? x0 : said)) / Math.sqrt(1 - alphaBar);
        const sigma = eta * Math.sqrt(posterior);
        return Math.sqrt(before) * x0 + Math.sqrt(1 - before - sigma ** 2) * epsilon + sigma * z;
      }
      const mean =
        ((Math.sqrt(before) * (1 - alpha)) / (1 - alphaBar)) * x0 + ((Math.sqrt(alpha) * (1 - before)) / (1 - alphaBar)) * value;
      return mean + Math.sqrt(variance === 'fixedSmall' ? posterior : 1 - alpha) * z;
    });
  }
  return x;
}

const small: Process = { prediction: 'epsilon', variance: 'fixedSmall', clip: true };
const article = [0, 7, 15, 22, 30, 37, 44, 52, 59]; // round(i·59/8), the half to even
const cases: [SamplerOptions, Process, number[]][] = [
  [{ method: 'ddpm' }, small, [...schedule.timesteps]],
  [{ method: 'ddpm', steps: 9 }, { ...small, variance: 'fixedLarge' }, article],
  [{ method: 'ddpm', steps: 9 }, { ...small, prediction: 'v', clip: false }, article],
  [{ method: 'ddim', steps: 9 }, small, article],
  [{ method: 'ddim', steps: 9, eta: 0.6 }, { ...small, prediction: 'sample' }, article],
  [{ method: 'ddim', steps: 7, eta: 1, spacing: 'leading' }, { ...small, prediction: 'v' }, [0, 8, 16, 24, 32, 40, 48]],
  [{ method: 'ddim', steps: 7, spacing: 'linspace' }, small, [0, 10, 20, 30, 39, 49, 59]],
  [{ method: 'ddim', steps: 7, spacing: 'trailing' }, small, [8, 16, 25, 33, 42, 50, 59]],
  [{ method: 'ddpm', steps: 9 }, { ...small, denoised: true }, article],
  [{ method: 'ddim', steps: 9, eta: 0.6 }, { ...small, denoised: true }, article],
  [{ method: 'ddim', steps: 9, useClippedModelOutput: false }, small, article],
  [{ method: 'ddim', steps: 9, eta: 0.6, useClippedModelOutput: false }, { ...small, denoised: true }, article],
  [{ method: 'ddim', steps: 9, useClippedModelOutput: false }, { ...small, prediction: 'v', denoised: true }, article],
  [{ method: 'ddim', steps: 9, useClippedModelOutput: false }, { ...small, prediction: 'sample', denoised: true }, article],
  [{ method: 'ddim', steps: 1 }, { ...small, prediction: 'sample' }, [0]],
];

describe('samplers written out in float64', () => {
  test.each(cases)('%o of %o', async (options, process, kept) => {
    const { prediction, variance, clip, denoised } = process;
    const diffusion = new GaussianDiffusion(device, schedule, {
      ...{ prediction, variance, clipDenoised: clip },
      ...(denoised && { denoisedFn: (start) => scale(start, 0.8, 0.1) }),
    });
    const seen: number[][] = [];
    using sampler = new Sampler(diffusion, tinyModel(tinyParameters, seen), { ...options, shape: [5, 3, 2] });
    using images = await sampler.sample({ count: 3, seed });
    expect(images.shape).toEqual(shape);
    // A function gets the original timesteps, one for each sample.
    expect(seen).toEqual(kept.toReversed().map((t) => [t, t, t]));
    expect([...sampler.timesteps]).toEqual(kept.toReversed());
    // float32 with rounding errors of 2^-24 that grow over up to 60 steps
    expect(relL2((await images.read()) as Float32Array, await reference(kept, process, options))).toBeLessThan(2e-5);
    diffusion.dispose();
  });

  test('steps give each evaluation, and the last one is the sample', async () => {
    const diffusion = new GaussianDiffusion(device, schedule);
    using sampler = new Sampler(diffusion, tinyModel(tinyParameters), { method: 'ddim', steps: 4, shape: [5, 3, 2] });
    const items: unknown[] = [];
    let last: Float32Array = new Float32Array();
    for await (const { step, total, timestep, x, predXStart } of sampler.steps({ count: 2, seed })) {
      items.push([step, total, timestep, x.shape, predXStart.shape]);
      last = (await x.read()) as Float32Array;
      // The last step leads to ᾱ = 1: without noise it gives the predicted image itself.
      if (step === total) expect(relL2(last, (await predXStart.read()) as Float32Array)).toBeLessThan(1e-6);
    }
    const size = [2, 5, 3, 2];
    expect(items).toEqual([59, 39, 20, 0].map((timestep, k) => [k + 1, 4, timestep, size, size]));
    using images = await sampler.sample({ count: 2, seed });
    expect(last).toEqual(await images.read());
    diffusion.dispose();
  });
});
