import { beforeAll, describe, expect, test } from 'vitest';
import type { BitsPerDimension } from '../../lib/diffusion/bitsPerDimension.js';
import { GaussianDiffusion } from '../../lib/diffusion/gaussian.js';
import { NoiseSchedule } from '../../lib/diffusion/schedule.js';
import { OptionError, ShapeError } from '../../lib/errors.js';
import { UNet } from '../../lib/index.js';
import { add } from '../../lib/ops/index.js';
import type { Tensor } from '../../lib/tensor.js';
import { delayDuring, quietest } from '../support/eventLoop.js';
import { entryOf, loadGoldenJson } from '../support/golden.js';
import { type TinyModelParameters, tinyModel } from '../support/tinyModel.js';
import { randomValues } from '../support/values.js';
import { eachReference, optionsOf, type ProcessCase, scheduleOf, upload } from './process.js';

const file = 'process/iddpm_bpd';
const all = loadGoldenJson<{ cases: (ProcessCase & { model: TinyModelParameters })[] }>(`${file}.json`).cases;
const cases = all.filter(({ kind }) => kind === 'calc_bpd_loop');
const flat = (rows: Float32Array[]) => Float32Array.from(rows.flatMap((row) => [...row]));

eachReference(file, (on) => {
  test.each(cases)('$id against calc_bpd_loop of improved-diffusion', async (example) => {
    const { reference, input, close } = on.of(example);
    using diffusion = new GaussianDiffusion(on.device, scheduleOf(example), optionsOf(example));
    const stack = reference('noises');
    const noises = Array.from({ length: stack.shape[0] as number }, (_, k) => upload(on.device, entryOf(stack, k)));
    const seen: number[][] = [];
    const model = tinyModel(example.model, seen);
    const found = await diffusion.bitsPerDimension(model, input('x_start'), { noises });
    expect(seen).toEqual(example.model_t.map((t) => [t, t]));
    await close(found.totalBpd, 'total_bpd', 1e-4, 1e-5);
    await close(found.priorBpd, 'prior_bpd', 1e-4, 1e-5);
    await close(flat(found.vb), 'vb', 1e-4, 1e-5);
    await close(flat(found.xStartMse), 'xstart_mse', 1e-4, 1e-5);
    await close(flat(found.mse), 'mse', 1e-4, 1e-5);
  });

  describe('a UNet with a learned variance', () => {
    const shape = [3, 8, 8, 1];
    let model: UNet;
    let x0: Tensor;
    let diffusion: GaussianDiffusion;
    beforeAll(() => {
      const attentionResolutions: number[] = [];
      const size = { imageSize: 8, inChannels: 1, outChannels: 2, baseChannels: 8, channelMults: [1], resBlocks: 1 };
      model = new UNet(on.device, { ...size, attentionResolutions, zeroInit: false, numClasses: 3, dropout: 0.5 });
      x0 = on.device.tensor(randomValues(3 * 64, 1), shape);
      diffusion = new GaussianDiffusion(on.device, NoiseSchedule.cosine({ timesteps: 12 }), { variance: 'learnedRange' });
    });
    const labels = [0, 2, 1];

    test('gives the same as the same network as a function, and the sums of its parts', async () => {
      const network = await diffusion.bitsPerDimension(model, x0, { labels, seed: 7 });
      const call = (xt: Tensor, t: Tensor, extra: { labels?: Tensor }) => model.forward(xt, t, extra);
      expect(await diffusion.bitsPerDimension(call, x0, { labels, seed: 7 })).toEqual(network);
      for (const [n, total] of network.totalBpd.entries()) {
        const sum = (network.vb[n] as Float32Array).reduce((sofar, term) => sofar + term, network.priorBpd[n] as number);
        expect(Math.abs(total / sum - 1)).toBeLessThan(1e-6);
        expect([network.vb, network.xStartMse, network.mse].map((rows) => rows[n]?.length)).toEqual([12, 12, 12]);
      }
    });

    test('of one sample depends on its number within the seed, not on the batch', async () => {
      const whole = await diffusion.bitsPerDimension(model, x0, { labels, seed: 2 ** 40 + 3 });
      const last = x0.alias([1, 8, 8, 1], 128);
      const alone = await diffusion.bitsPerDimension(model, last, { labels: [1], seed: 2 ** 40 + 3, firstSample: 2 });
      const relative = on.id === 'cpu' ? 0 : 1e-4;
      const row = whole.vb[2] as Float32Array;
      alone.vb[0]?.forEach((term, k) => {
        expect(Math.abs(term - (row[k] as number))).toBeLessThanOrEqual(relative * Math.abs(row[k] as number));
      });
      const other = await diffusion.bitsPerDimension(model, last, { labels: [1], seed: 4 });
      expect(other.vb[0]).not.toEqual(alone.vb[0]);
    });

    test('takes bytes, tells its progress, and leaves no memory behind', async () => {
      const bytes = Uint8Array.from({ length: 192 }, (_, i) => (i * 37) & 255);
      const images = on.device.tensor(bytes, shape);
      const floats = on.device.tensor(
        Float32Array.from(bytes, (byte) => byte / 127.5 - 1),
        shape,
      );
      const expected = await diffusion.bitsPerDimension(model, floats, { labels, seed: 1 });
      const before = on.device.memory().usedBytes;
      const heard: number[][] = [];
      const onProgress = (done: number, total: number) => heard.push([done, total]);
      const found = await diffusion.bitsPerDimension(model, images, { labels, seed: 1, onProgress });
      expect(heard).toEqual(Array.from({ length: 12 }, (_, k) => [k + 1, 12]));
      found.totalBpd.forEach((total, n) => {
        expect(Math.abs(total / (expected.totalBpd[n] as number) - 1)).toBeLessThan(1e-4);
      });
      await on.device.synchronize();
      expect(on.device.memory().usedBytes).toBe(before);
    });

    test('of a changed x_0 is that of the changed process', async () => {
      const { schedule } = diffusion;
      const same = { variance: 'learnedRange', denoisedFn: (x: Tensor) => x } as const;
      const plain = await new GaussianDiffusion(on.device, schedule, { variance: 'learnedRange' }).bitsPerDimension(model, x0, {
        labels,
        seed: 3,
      });
      const close = (found: BitsPerDimension) =>
        found.totalBpd.forEach((total, n) => {
          expect(Math.abs(total / (plain.totalBpd[n] as number) - 1)).toBeLessThan(1e-4);
        });
      close(await new GaussianDiffusion(on.device, schedule, same).bitsPerDimension(model, x0, { labels, seed: 3 }));
      // With a largest bound of 1 the threshold is the plain clip.
      const threshold = { variance: 'learnedRange', dynamicThreshold: {} } as const;
      close(await new GaussianDiffusion(on.device, schedule, threshold).bitsPerDimension(model, x0, { labels, seed: 3 }));
    });

    test('stops by a signal, and with what a model throws', async () => {
      const controller = new AbortController();
      const model = async (xt: Tensor) => {
        controller.abort();
        return add(xt, xt);
      };
      using fixed = new GaussianDiffusion(on.device, diffusion.schedule);
      await on.device.synchronize();
      const before = on.device.memory().usedBytes;
      await expect(fixed.bitsPerDimension(model, x0, { signal: controller.signal })).rejects.toThrow(/abort/);
      await expect(fixed.bitsPerDimension(() => Promise.reject(new Error('mine')), x0)).rejects.toThrow('mine');
      fixed.dispose();
      await on.device.synchronize();
      expect(on.device.memory().usedBytes).toBe(before);
    });

    test('checks its arguments', async () => {
      const wrong = (options: object, images: unknown = x0) => diffusion.bitsPerDimension(model, images as Tensor, options);
      await expect(wrong({ labels, noises: [x0] })).rejects.toThrow(/'noises' must hold 12 tensors, one for each step, got 1/);
      await expect(wrong({ labels, sed: 1 })).rejects.toThrow(OptionError);
      await expect(wrong({ labels: [0] })).rejects.toThrow(ShapeError);
      await expect(wrong({ labels }, [0])).rejects.toThrow(/x0 must be a Tensor/);
      await expect(diffusion.bitsPerDimension((xt) => add(xt, xt), x0)).rejects.toThrow(
        /model output must have shape \[3,8,8,2\] \(the prediction, then as many channels for variance 'learnedRange'\)/,
      );
    });

    test('does not hold up the event loop', async () => {
      const measure = () => delayDuring(() => diffusion.bitsPerDimension(model, x0, { labels, seed: 1 }));
      expect(await quietest(3, measure)).toBeLessThan(5);
    });
  });
});
