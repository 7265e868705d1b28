import { beforeAll, expect, test } from 'vitest';
import type { Device } from '../../lib/device.js';
import { GaussianDiffusion } from '../../lib/diffusion/gaussian.js';
import { NoiseSchedule } from '../../lib/diffusion/schedule.js';
import { OptionError, ShapeError } from '../../lib/errors.js';
import { scale } from '../../lib/ops/index.js';
import type { Tensor } from '../../lib/tensor.js';
import { maxAbs } from '../support/compare.js';
import { eachDevice } from '../support/devices.js';
import { randomValues } from '../support/values.js';

const shape = [3, 5, 3, 2];
const t = [0, 7, 19];
const schedule = NoiseSchedule.cosine({ timesteps: 20 });
const predictions = ['epsilon', 'sample', 'v', 'previous'] as const;

eachDevice((_, open) => {
  let device: Device;
  let x: Tensor;
  let output: Tensor;
  let noise: Tensor;
  beforeAll(async () => {
    device = await open();
    [x, output, noise] = [1, 2, 3].map((seed) => device.tensor(randomValues(90, seed), shape)) as [Tensor, Tensor, Tensor];
  });
  const read = async (tensor: Tensor) => (await tensor.read()) as Float32Array;
  const largest = (values: Float32Array) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 1);

  test.each(predictions)('denoisedFn changes x_0 before it is clipped (%s)', async (prediction) => {
    const seen: Tensor[] = [];
    const denoisedFn = (start: Tensor) => {
      seen.push(device.unscoped(() => start.alias()));
      return scale(start, 0.5, 0.1);
    };
    using changed = new GaussianDiffusion(device, schedule, { prediction, denoisedFn });
    using free = new GaussianDiffusion(device, schedule, { prediction, clipDenoised: false });
    const raw = await read(free.pMeanVariance(output, x, t).predXStart);
    const { mean, predXStart } = changed.pMeanVariance(output, x, t);
    expect(await read(seen[0] as Tensor)).toEqual(raw);
    const expected = raw.map((value) => Math.min(1, Math.max(-1, 0.5 * value + 0.1)));
    expect(maxAbs(await read(predXStart), expected)).toBeLessThan(1e-6 * largest(raw));

    // What the steps make of it is what they make of that image, but for the mean that a model says outright.
    using direct = new GaussianDiffusion(device, schedule, { prediction: 'sample', clipDenoised: false });
    const image = device.tensor(await read(predXStart), shape);
    const same = prediction === 'previous' ? output : direct.pMeanVariance(image, x, t).mean;
    expect(await read(mean)).toEqual(await read(same));
    const step = changed.ddimSample(output, x, t, { eta: 0.5, noise });
    expect(await read(step.sample)).toEqual(await read(direct.ddimSample(image, x, t, { eta: 0.5, noise }).sample));
    const ancestral = changed.pSample(output, x, t, { noise });
    expect(await read(ancestral.predXStart)).toEqual(await read(predXStart));
    if (prediction === 'previous') return;
    expect(await read(ancestral.sample)).toEqual(await read(direct.pSample(image, x, t, { noise }).sample));
  });

  test('what denoisedFn returns is checked, and nothing of it stays behind', async () => {
    const run = (denoisedFn: (start: Tensor) => unknown) => () => {
      using diffusion = new GaussianDiffusion(device, schedule, { denoisedFn: denoisedFn as (start: Tensor) => Tensor });
      for (const tensor of Object.values(diffusion.pSample(output, x, t, { noise }))) tensor.dispose();
    };
    expect(run(() => device.zeros([1]))).toThrow(ShapeError);
    expect(run(() => device.zeros([1]))).toThrow(/pSample: what 'denoisedFn' returns must have shape \[3,5,3,2\], got \[1\]/);
    expect(run(async (start) => start)).toThrow(OptionError);
    const before = device.memory().usedBytes;
    run((start) => scale(start, 2))();
    await device.synchronize();
    expect(device.memory().usedBytes).toBe(before);
  });
});
