import { expect, test } from 'vitest';
import { maxRelative } from '../support/compare.js';
import { eachDevice, openForBf16 } from '../support/devices.js';
import { Placed, read } from '../support/placed.js';
import { eps32, randomValues, toBf16 } from '../support/values.js';

const constants = [0.9, 0.999, 1e-8, 0.01];

eachDevice((id, open) => {
  for (const [size, shift] of [
    [1031, 0],
    [64, 1],
    [3, 0],
  ] as [number, number][])
    test(`adamW on ${id} writes ${size} updated weights again in bf16, ${shift} into memory`, async (context) => {
      const device = await openForBf16(open, context);
      const start = randomValues(size, 1);
      const hyper = device.tensor([1e-2, 0.1, 0.03, 0.9], [4]);
      const step = async (copied: boolean, factor: number) => {
        const [value, m, v, ema] = [start, new Float32Array(size), new Float32Array(size), start].map((values) =>
          device.tensor(values, [size]),
        );
        const copy = new Placed(device, shift).of(new Float32Array(size).fill(7), [size]);
        const grad = device.tensor(randomValues(size, 2), [size]);
        const states = [value, grad, m, v, ema].map((tensor) => tensor?.handle as number);
        const norm = device.tensor([1, factor], [2]);
        device.native.adamW(...states, copied ? copy.handle : 0, norm.handle, hyper.handle, ...constants);
        const read32 = [value, m, v, ema].map((tensor) => tensor?.read() as Promise<Float32Array>);
        return { copy: await read(copy), states: await Promise.all(read32) };
      };
      const [without, with_] = [await step(false, 0.5), await step(true, 0.5)];
      expect(with_.states).toEqual(without.states);
      expect(with_.copy).toEqual(toBf16(with_.states[0] as Float32Array));
      expect(with_.states[0]).not.toEqual(start);
      expect(new Set((await step(true, Number.NaN)).copy)).toEqual(new Set([7]));
    });

  test(`gradientNorm on ${id} over many blocks, again and again, and chained in place`, async () => {
    const device = await open();
    const { native } = device;
    for (const size of [8191, 8192, 8193, 100_003]) {
      const values = randomValues(size, 3);
      const exact = Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
      const grad = device.tensor(values, [size]);
      const results = [0, 1, 2].map(() => {
        const result = device.full([2], Number.NaN);
        native.gradientNorm(grad.handle, 0, result.handle, 0);
        return result;
      });
      const [first, ...others] = await Promise.all(results.map((result) => result.read()));
      expect(maxRelative(first as Float32Array, [exact, 1])).toBeLessThan(2 * eps32);
      for (const other of others) expect(other).toEqual(first);
      const chained = results[0]?.handle as number;
      native.gradientNorm(grad.handle, chained, chained, 1);
      const twice = Math.SQRT2 * exact;
      expect(maxRelative((await results[0]?.read()) as Float32Array, [twice, 1 / (twice + 1e-6)])).toBeLessThan(4 * eps32);
    }
  });
});
