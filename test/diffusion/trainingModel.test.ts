import { beforeAll, describe, expect, test, vi } from 'vitest';
import type { Device } from '../../lib/device.js';
import { GaussianDiffusion } from '../../lib/diffusion/gaussian.js';
import { NoiseSchedule } from '../../lib/diffusion/schedule.js';
import { DeviceMismatchError, DTypeError, OptionError, ShapeError } from '../../lib/errors.js';
import { openDevice } from '../../lib/index.js';
import { add } from '../../lib/ops/index.js';
import type { Tensor } from '../../lib/tensor.js';
import { eachDevice } from '../support/devices.js';

eachDevice((_, open) => {
  let device: Device;
  beforeAll(async () => {
    device = await open();
  });

  describe('the model', () => {
    const make = () => new GaussianDiffusion(device, NoiseSchedule.linear({ timesteps: 100 }).respace(10));
    const image = () => device.full([3, 4, 5, 2], 0.5);
    const t = [0, 4, 9];

    test('as a function gets original steps and labels, and keeps the graph of parameters', async () => {
      const model = vi.fn((xt: Tensor, steps: Tensor, extra: { labels?: Tensor }) => {
        void [xt.read(), steps.read(), extra.labels?.read()];
        return xt;
      });
      const { loss, mse } = make().trainingLosses(model, image(), t, { seed: 1, labels: [2, 0, 1] });
      expect(loss.shape).toEqual([3]);
      expect(await loss.read()).toEqual(await mse?.read());
      const [[xt, steps, extra]] = model.mock.calls as [[Tensor, Tensor, { labels?: Tensor }]];
      expect([xt.shape, steps.shape, extra.labels?.shape]).toEqual([[3, 4, 5, 2], [3], [3]]);
      expect([steps.disposed, extra.labels?.disposed]).toEqual([true, true]);
    });

    test('as a network runs with train: true, labels and the seed', async () => {
      const forward = vi.fn((xt: Tensor) => add(xt, xt));
      const labels = device.tensor([1, 1, 1], [3], { dtype: 'i32' });
      const { loss } = make().trainingLosses({ device, forward }, image(), t, { seed: 5, labels });
      expect(await loss.read()).toHaveLength(3);
      const [[, , options]] = forward.mock.calls as unknown as [[Tensor, Tensor, object]];
      expect(options).toMatchObject({ train: true, seed: 5 });
      expect(labels.disposed).toBe(false);
    });

    test('that is async keeps its tensors until it settles, even inside a scope', async () => {
      let handed: Tensor | undefined;
      const model = async (xt: Tensor) => {
        handed = xt;
        await device.synchronize();
        expect(xt.disposed).toBe(false);
        return add(xt, xt);
      };
      let losses: Promise<{ loss: Tensor }> | undefined;
      device.scope(() => {
        losses = make().trainingLosses(model, image(), t, { seed: 1 });
      });
      const same = make().trainingLosses((xt) => add(xt, xt), image(), t, { seed: 1 });
      expect(await (await losses)?.loss.read()).toEqual(await same.loss.read());
      expect(handed?.disposed).toBe(true);
    });

    test('leaves no memory behind, whether it succeeds or fails', async () => {
      const diffusion = make();
      const x0 = image();
      const run = async (model: (xt: Tensor) => Tensor | Promise<Tensor>) => {
        const losses = await diffusion.trainingLosses(model, x0, t, { labels: [0, 0, 0] });
        losses.loss.dispose();
        losses.mse?.dispose();
      };
      await run((xt) => add(xt, xt));
      const before = device.memory().usedBytes;
      await run((xt) => add(xt, xt));
      await run(async (xt) => add(xt, xt));
      await expect(run(() => Promise.reject(new Error('mine')))).rejects.toThrow('mine');
      await expect(
        run(() => {
          throw new Error('mine');
        }),
      ).rejects.toThrow('mine');
      await device.synchronize();
      expect(device.memory().usedBytes).toBe(before);
    });

    test('is refused when its output does not fit', async () => {
      const wrong = (output: unknown) => () => make().trainingLosses(() => output as Tensor, image(), t);
      expect(wrong(device.zeros([3, 4, 5, 4]))).toThrow(ShapeError);
      expect(wrong(device.zeros([3, 4, 5, 4]))).toThrow(
        /model output must have shape \[3,4,5,2\] \(variance 'fixedSmall' is not/,
      );
      expect(wrong(device.zeros([3, 4, 5, 2], { dtype: 'i32' }))).toThrow(DTypeError);
      expect(wrong(undefined)).toThrow(OptionError);
      const late = make().trainingLosses(async () => device.zeros([1]), image(), t);
      await expect(late).rejects.toThrow(ShapeError);
      const other = await openDevice('cpu', { threads: 1 });
      expect(wrong(other.zeros([3, 4, 5, 2]))).toThrow(DeviceMismatchError);
      const network = { device: other, forward: (xt: Tensor) => xt };
      expect(() => make().trainingLosses(network, image(), t)).toThrow(DeviceMismatchError);
      await other.close();
    });
  });
});
