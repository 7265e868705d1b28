import { beforeAll, expect, test } from 'vitest';
import { Parameter } from '../../lib/autograd/parameter.js';
import type { Device } from '../../lib/device.js';
import { callModel } from '../../lib/diffusion/model.js';
import { add } from '../../lib/ops/index.js';
import type { Tensor } from '../../lib/tensor.js';
import { eachDevice } from '../support/devices.js';

eachDevice((_, open) => {
  let device: Device;
  beforeAll(async () => {
    device = await open();
  });
  const shape = [2, 3];
  const batch = () => [device.full(shape, 2), device.tensor([4, 5], [2], { dtype: 'i32' })] as const;

  test('a function is taped only in training', () => {
    const parameter = new Parameter('p', shape, 'plain', device.full(shape, 3), device.zeros(shape));
    const model = (xt: Tensor) => add(xt, parameter);
    const [xt, t] = batch();
    expect((callModel('test', model, xt, t) as Tensor).edge).toBeNull();
    expect((callModel('test', model, xt, t, { train: true }) as Tensor).edge).not.toBeNull();
  });

  test('what is handed over is freed afterwards, unless it is what came back', async () => {
    const [xt, t] = batch();
    const handed: Tensor[] = [];
    const output = await callModel(
      'test',
      async (x, steps) => {
        handed.push(x, steps);
        await steps.read();
        return x;
      },
      xt,
      t,
    );
    expect(handed.map((tensor) => tensor.disposed)).toEqual([false, true]);
    expect(output).toBe(handed[0]);
    expect(Array.from(await output.read())).toEqual([2, 2, 2, 2, 2, 2]);
    output.dispose();
    expect([xt.disposed, t.disposed]).toEqual([false, false]);
  });

  test('labels go to a function only where there are any', () => {
    const [xt, t] = batch();
    const extras: object[] = [];
    const model = (x: Tensor, _: Tensor, extra: object) => {
      extras.push(Object.keys(extra));
      return x;
    };
    void callModel('test', model, xt, t);
    void callModel('test', model, xt, t, { labels: t });
    expect(extras).toEqual([[], ['labels']]);
  });

  test('a network is given only what was given', () => {
    const [xt, t] = batch();
    const seen: object[] = [];
    const forward = (x: Tensor, _: Tensor, options = {}) => {
      seen.push(options);
      return add(x, x);
    };
    void callModel('test', { device, forward }, xt, t);
    void callModel('test', { device, forward }, xt, t, { labels: t, train: true, seed: 0 });
    expect(seen).toEqual([{ train: false }, { labels: t, train: true, seed: 0 }]);
  });
});
