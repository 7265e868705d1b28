import { expect, test } from 'vitest';
import { maxAbs, maxRelative } from '../support/compare.js';
import { eachDevice } from '../support/devices.js';
import { eps32, randomValues } from '../support/values.js';

const size = 1031;

eachDevice((id, open) => {
  test(`gradientNorm on ${id}: over several arrays, and the factor that clips it`, async () => {
    const device = await open();
    const [a, b] = [randomValues(size, 1), randomValues(77, 2)];
    const square = (values: Float32Array) => values.reduce((sum, value) => sum + value * value, 0);
    const [first, second] = [device.empty([2], 'f32'), device.empty([2], 'f32')];
    device.native.gradientNorm(device.tensor(a, [size]).handle, 0, first.handle, 0);
    device.native.gradientNorm(device.tensor(b, [77]).handle, first.handle, second.handle, 2);
    const [one, both] = [Math.sqrt(square(a)), Math.sqrt(square(a) + square(b))];
    expect(maxRelative(await first.read(), [one, 1])).toBeLessThan(4 * eps32);
    expect(maxRelative(await second.read(), [both, 2 / (both + 1e-6)])).toBeLessThan(4 * eps32);
    device.native.gradientNorm(device.tensor([3, 4], [2]).handle, 0, first.handle, 6);
    expect([...(await first.read())]).toEqual([5, 1]);
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY])(
    `gradientNorm on ${id}: a gradient of %d, and adamW writes nothing`,
    async (bad) => {
      const device = await open();
      const grad = device.tensor([1, bad, 2], [3]);
      const norm = device.empty([2], 'f32');
      device.native.gradientNorm(grad.handle, 0, norm.handle, 1);
      expect((await norm.read())[1]).toBeNaN();
      const state = [1, 2, 3, 4].map((value) => device.full([3], value)); // value, m, v, ema
      const [value, m, v, ema] = state.map((tensor) => tensor.handle) as [number, number, number, number];
      const hyper = device.tensor([0.1, 0.1, 0.1, 0.5], [4]);
      device.native.adamW(value, grad.handle, m, v, ema, 0, norm.handle, hyper.handle, 0.9, 0.999, 1e-8, 0.1);
      for (const [i, tensor] of state.entries()) expect([...(await tensor.read())]).toEqual([i + 1, i + 1, i + 1]);
    },
  );

  test.each([true, false])(`adamW on ${id}: three steps (average: %s)`, async (averaged) => {
    const device = await open();
    const [beta1, beta2, eps, decay, rate, ema] = [0.9, 0.999, 1e-8, 0.01, 2e-3, 0.9];
    const start = randomValues(size, 3);
    const exact = Array.from(start, (value) => ({ value, m: 0, v: 0, ema: value }));
    const make = (values: Float32Array) => device.tensor(values, [size]);
    const zeros = new Float32Array(size);
    const [value, m, v, average] = [make(start), make(zeros), make(zeros), make(start)];
    for (const step of [1, 2, 3]) {
      const gradient = randomValues(size, 10 + step);
      const [c1, c2] = [1 - beta1 ** step, Math.sqrt(1 - beta2 ** step)];
      const clip = 0.5;
      for (const [i, one] of exact.entries()) {
        const g = (gradient[i] as number) * clip;
        one.m = beta1 * one.m + (1 - beta1) * g;
        one.v = beta2 * one.v + (1 - beta2) * g * g;
        one.value -= rate * decay * one.value;
        one.value -= ((rate / c1) * one.m) / (Math.sqrt(one.v) / c2 + eps);
        one.ema = ema * one.ema + (1 - ema) * one.value;
      }
      const handles = [value, make(gradient), m, v].map((tensor) => tensor.handle);
      const norm = device.tensor([1, clip], [2]);
      const hyper = device.tensor([rate, c1, c2, ema], [4]);
      const parameters = [beta1, beta2, eps, decay];
      device.native.adamW(...handles, averaged ? average.handle : 0, 0, norm.handle, hyper.handle, ...parameters);
    }
    const compare = async (actual: Promise<ArrayLike<number>>, name: 'value' | 'm' | 'v' | 'ema', limit: number) =>
      expect(
        maxAbs(
          await actual,
          exact.map((one) => one[name]),
        ),
        name,
      ).toBeLessThan(limit);
    // Three steps; values of up to 4 are rounded a few times a step, the moments' coefficients are float32.
    await compare(value.read(), 'value', 3 * 3 * 4 * eps32);
    await compare(m.read(), 'm', 3 * 8 * eps32);
    await compare(v.read(), 'v', 3 * 0.01 * 2 ** -13); // 1 − 0.999 as a difference of float32 is off by 2^-15 of itself
    if (averaged) await compare(average.read(), 'ema', 3 * 4 * 4 * eps32);
    else expect(await average.read()).toEqual(start);
  });
});
