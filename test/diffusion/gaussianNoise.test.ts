import { beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../../lib/device.js';
import { GaussianDiffusion } from '../../lib/diffusion/gaussian.js';
import { NoiseSchedule } from '../../lib/diffusion/schedule.js';
import { streams } from '../../lib/random.js';
import type { Tensor } from '../../lib/tensor.js';
import { maxAbs } from '../support/compare.js';
import { eachDevice } from '../support/devices.js';
import { normals, words } from '../support/philox.js';
import { randomValues } from '../support/values.js';

const seed = 2 ** 40 + 3;

eachDevice((_, open) => {
  let device: Device;
  let diffusion: GaussianDiffusion;
  beforeAll(async () => {
    device = await open();
    diffusion = new GaussianDiffusion(device, NoiseSchedule.linear({ timesteps: 40, betaEnd: 0.2 }));
  });

  const read = async (tensor: Tensor) => (await tensor.read()) as Float32Array;
  const images = (n: number, h = 5, w = 7, c = 3) => device.tensor(randomValues(n * h * w * c, 4), [n, h, w, c]);

  describe('noise that is drawn', () => {
    test('is that of the seed, whatever the batch, and is what the image got', async () => {
      const x0 = images(5);
      const t = [0, 39, 7, 7, 12];
      const { xt, noise } = diffusion.qSample(x0, t, { seed });
      const drawn = await read(noise);
      for (let n = 0; n < 5; n++)
        expect(drawn.subarray(n * 105, (n + 1) * 105)).toEqual(normals({ seed, stream: streams.noise }, n, 105));
      expect(await read(diffusion.qSample(x0, t, { noise }).xt)).toEqual(await read(xt));
      const two = x0.alias([2, 5, 7, 3], 3 * 105);
      const part = diffusion.qSample(two, [7, 12], { seed, firstSample: 3 });
      expect(await read(part.xt)).toEqual((await read(xt)).slice(3 * 105));
    });

    test('of a reverse step is one of its own, told apart by stream and step', async () => {
      const x = images(2);
      const output = device.zeros(x.shape);
      const step = (options: object) => diffusion.pSample(output, x, [9, 9], { seed, ...options }).sample;
      const own = device.tensor(
        [0, 1].flatMap((n) => [...normals({ seed, stream: streams.samplerNoise, step: 4 }, n, 105)]),
        x.shape,
      );
      expect(await read(step({ step: 4 }))).toEqual(await read(diffusion.pSample(output, x, [9, 9], { noise: own }).sample));
      expect(await read(step({ step: 5 }))).not.toEqual(await read(step({ step: 4 })));
      expect(await read(step({ stream: 3 }))).not.toEqual(await read(step({})));
    });

    test('without a seed differs from call to call, and from run to run of a recording', async () => {
      const x0 = images(1);
      const one = diffusion.qSample(x0, [39]);
      const two = diffusion.qSample(x0, [39]);
      expect(await read(one.noise)).not.toEqual(await read(two.noise));
      const fresh = new GaussianDiffusion(device, NoiseSchedule.cosine({ timesteps: 10 }));
      const program = device.record(() => fresh.qSample(x0, [9]));
      const first = await read(program.result.noise);
      program.run();
      expect(await read(program.result.noise)).not.toEqual(first);
      program.dispose();
    });

    test('is not added at t = 0, nor by DDIM with η = 0', async () => {
      const x = images(2);
      const output = images(2);
      for (const method of [diffusion.pSample, diffusion.ddimSample].map((step) => step.bind(diffusion))) {
        const eta = method.name.includes('ddim') ? { eta: 1 } : {};
        const [one, two] = [method(output, x, [0, 1], { seed: 1, ...eta }), method(output, x, [0, 1], { seed: 2, ...eta })];
        const [a, b] = [await read(one.sample), await read(two.sample)];
        expect(a.slice(0, 105)).toEqual(b.slice(0, 105));
        expect(a.slice(105)).not.toEqual(b.slice(105));
      }
      const quiet = (seed: number) => diffusion.ddimSample(output, x, [0, 30], { seed }).sample;
      expect(await read(quiet(1))).toEqual(await read(quiet(2)));
    });
  });

  describe('u8 images', () => {
    const [n, h, w, c] = [9, 3, 5, 3];
    const bytes = Uint8Array.from({ length: n * h * w * c }, (_, i) => (i * 89) % 256);

    test('become x / 127.5 - 1', async () => {
      const x0 = device.tensor(bytes, [n, h, w, c]);
      const floats = device.tensor(
        Float32Array.from(bytes, (x) => Math.fround(Math.fround(x / 127.5) - 1)),
        [n, h, w, c],
      );
      const t = new Int32Array(n).fill(11);
      const { xt } = diffusion.qSample(x0, t, { seed });
      expect(maxAbs(await read(xt), await read(diffusion.qSample(floats, t, { seed }).xt))).toBeLessThanOrEqual(2 ** -23);
    });

    test('are mirrored where the seed says so', async () => {
      const t = new Int32Array(n);
      const noise = device.zeros([n, h, w, c]);
      const x0 = device.tensor(bytes, [n, h, w, c]);
      const plain = await read(diffusion.qSample(x0, t, { noise }).xt);
      const flipped = await read(diffusion.qSample(x0, t, { noise, flip: true, seed }).xt);
      const mirrored = Array.from({ length: n }, (_, k) => (words({ seed, stream: streams.noise + 1 }, k, 1)[0] ?? 0) % 2 === 1);
      expect(new Set(mirrored).size).toBe(2);
      const expected = plain.map((_, i) => {
        const [sample, column] = [Math.floor(i / (h * w * c)), Math.floor(i / c) % w];
        return plain[mirrored[sample] ? i + (w - 1 - 2 * column) * c : i] as number;
      });
      expect(flipped).toEqual(expected);
    });

    test('train as the f32 images do, towards the mirrored image', async () => {
      const sample = new GaussianDiffusion(device, NoiseSchedule.linear({ timesteps: 40 }), { prediction: 'sample' });
      const x0 = device.tensor(bytes, [n, h, w, c]);
      const t = new Int32Array(n).fill(39);
      const { xt, noise } = sample.qSample(x0, t, { seed, flip: true });
      const { predXStart } = new GaussianDiffusion(device, sample.schedule).pMeanVariance(noise, xt, t);
      const { loss } = sample.trainingLosses(() => predXStart.alias(), x0, t, { seed, flip: true });
      expect(Math.max(...(await read(loss)))).toBeLessThan(1e-10);
      const unflipped = sample.trainingLosses(() => predXStart, x0, t, { seed });
      expect(Math.max(...(await read(unflipped.loss)))).toBeGreaterThan(0.01);
    });
  });

  test('forward steps, one after another, lead to the distribution of the jump', async () => {
    const value = 0.7;
    let x = device.full([32, 16, 16, 3], value);
    const last = 19;
    for (let t = 0; t <= last; t++) x = diffusion.qStep(x, new Int32Array(32).fill(t), { seed, step: t });
    const [walked, jumped] = [x, diffusion.qSample(device.full(x.shape, value), new Int32Array(32).fill(last), { seed }).xt];
    const alphaBar = diffusion.schedule.alphasCumprod[last] as number;
    for (const tensor of [walked, jumped]) {
      const values = await read(tensor);
      const average = values.reduce((sum, one) => sum + one, 0) / values.length;
      const variance = values.reduce((sum, one) => sum + (one - average) ** 2, 0) / (values.length - 1);
      // Within five standard errors of the mean and of the variance of a normal distribution.
      expect(Math.abs(average - Math.sqrt(alphaBar) * value)).toBeLessThan(5 * Math.sqrt((1 - alphaBar) / values.length));
      expect(Math.abs(variance / (1 - alphaBar) - 1)).toBeLessThan(5 * Math.sqrt(2 / values.length));
    }
  });
});
