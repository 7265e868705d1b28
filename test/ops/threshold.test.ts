import { expect, test } from 'vitest';
import { reverseStep } from '../../lib/diffusion/kernels.js';
import { thresholdOf } from '../../lib/diffusion/variationalBound.js';
import { noRng } from '../../lib/random.js';
import { maxRelative } from '../support/compare.js';
import { eachDevice } from '../support/devices.js';
import { eps32, randomValues, sizeOf } from '../support/values.js';

/** torch.quantile with linear interpolation. */
function quantile(values: number[], ratio: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const place = Math.fround(ratio) * (values.length - 1);
  const [below, above] = [Math.floor(place), Math.ceil(place)].map((k) => sorted[k] as number) as [number, number];
  return below + (place - Math.floor(place)) * (above - below);
}

const cases = [
  { shape: [3, 7, 5, 3], ratio: 0.995, max: 100, factor: 1, guidance: undefined },
  { shape: [3, 7, 5, 3], ratio: 0.5, max: 100, factor: 2, guidance: 3 },
  { shape: [2, 4, 4, 4], ratio: 1, max: 100, factor: 2, guidance: undefined },
  { shape: [2, 9], ratio: 0, max: 2, factor: 1, guidance: undefined },
  { shape: [1, 1], ratio: 0.3, max: 100, factor: 1, guidance: 2 },
  { shape: [5, 33, 31, 1], ratio: 0.9, max: 2.5, factor: 1, guidance: undefined },
];

eachDevice((id, open) => {
  test.each(cases)(`threshold on ${id}: $shape, ratio $ratio, max $max, guidance $guidance`, async (given) => {
    const { shape, ratio, max, factor, guidance } = given;
    const device = await open();
    const [n, c, size] = [shape[0] as number, shape.at(-1) as number, sizeOf(shape)];
    const wide = [...shape.slice(0, -1), factor * c];
    const [output, free, x] = [randomValues(factor * size, 1), randomValues(factor * size, 2), randomValues(size, 3)];
    const steps = Int32Array.from({ length: n }, (_, i) => (i + 1) % 2);
    const rows = [0, 1].map((k) => [1.5 + k, -0.5 - 2 * k, ...new Array(11).fill(0)]);
    const start = {
      output: device.tensor(output, wide),
      ...(guidance !== undefined && { unconditional: device.tensor(free, wide), guidance }),
      xt: device.tensor(x, shape),
      t: device.tensor(steps, [n]),
      table: device.tensor(rows.flat(), [2, 13]),
    };
    const bound = thresholdOf(start, { ratio, max });
    const starts = Array.from(x, (value, i) => {
      const [px, pm] = rows[steps[Math.floor((i * n) / size)] as number] as [number, number];
      const place = factor === 1 ? i : i + c * Math.floor(i / c);
      const [m, u] = [output[place] as number, free[place] as number];
      return Math.abs(px * value + pm * (guidance === undefined ? m : u + guidance * (m - u)));
    });
    const expected = Array.from({ length: n }, (_, k) =>
      Math.min(max, Math.max(1, quantile(starts.slice((k * size) / n, ((k + 1) * size) / n), ratio))),
    );
    expect(maxRelative(await bound.read(), expected)).toBeLessThan(16 * eps32);
    const { predXStart } = reverseStep({ ...start, clip: 0, bound, noise: null, rng: noRng });
    expect((await predXStart.read()).every((value) => Math.abs(value) <= 1)).toBe(true);
  });

  test(`threshold on ${id}: values that repeat, and NaN where an x_0 is one`, async () => {
    const device = await open();
    const values = [3, 3, 3, 1, 3, 2, -3, 3, 9, Number.NaN, 1, 1, -4, 4, 4, 4].map(Math.fround);
    const xt = device.tensor(values, [2, 8]);
    const t = device.zeros([2], { dtype: 'i32' });
    const table = device.tensor([1, 0, ...new Array(11).fill(0)], [1, 13]);
    const bound = await thresholdOf({ output: device.zeros([2, 8]), xt, t, table }, { ratio: 0.5, max: 100 }).read();
    expect([...bound]).toEqual([3, Number.NaN]);
  });

  test(`threshold on ${id}: a step outside the table rejects the read`, async () => {
    const device = await open();
    const xt = device.zeros([1, 3]);
    const t = device.tensor(Int32Array.of(2), [1]);
    const bound = thresholdOf({ output: xt, xt, t, table: device.zeros([2, 13]) }, { ratio: 0.5, max: 2 });
    await expect(bound.read()).rejects.toThrow(/threshold: t = 2/);
  });
});
