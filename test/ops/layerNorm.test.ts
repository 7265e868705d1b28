import { expect, test } from 'vitest';
import * as ops from '../../lib/ops/index.js';
import { relL2 } from '../support/compare.js';
import { eachDevice } from '../support/devices.js';
import { checkOperation, type Definition } from '../support/operation.js';
import { randomValues, sizeOf, tolerance, widen } from '../support/values.js';

interface Values {
  x: ArrayLike<number>;
  gamma?: ArrayLike<number>;
  beta?: ArrayLike<number>;
}

function layerNorm({ x, gamma, beta }: Values, d: number, eps: number): Float64Array {
  const y = new Float64Array(x.length);
  for (let first = 0; first < x.length; first += d) {
    const row = Array.from({ length: d }, (_, i) => x[first + i] as number);
    const mean = row.reduce((a, b) => a + b, 0) / d;
    const variance = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / d;
    for (const [i, value] of row.entries())
      y[first + i] = ((value - mean) / Math.sqrt(variance + eps)) * (gamma?.[i] ?? 1) + (beta?.[i] ?? 0);
  }
  return y;
}

function definition(shape: number[], axes: number, affine: ('gamma' | 'beta')[], eps = 1e-5): Definition<string> {
  const normalised = shape.slice(-axes);
  const d = sizeOf(normalised);
  return {
    inputs: { x: shape, ...Object.fromEntries(affine.map((name) => [name, normalised])) },
    shape,
    terms: 16 * Math.max(d, sizeOf(shape) / d),
    run: ({ x, gamma, beta }) => ops.layerNorm(x as ops.TensorLike, gamma ?? null, beta ?? null, { axes, eps }),
    reference: (values) => layerNorm(values as unknown as Values, d, eps),
  };
}

eachDevice((id, open) => {
  test.each<[number[], number, ('gamma' | 'beta')[]]>([
    [[2, 3, 5, 8], 1, ['gamma', 'beta']],
    [[1, 7, 5, 3], 3, ['gamma', 'beta']],
    [[5, 7], 1, ['gamma']],
    [[3, 1, 6], 2, ['beta']],
    [[4, 9], 1, []],
  ])(`layerNorm on ${id}: %j, %i axes, %j`, async (shape, axes, affine) => {
    await checkOperation(await open(), definition(shape, axes, affine));
  });

  test(`layerNorm on ${id}: another eps`, async () => {
    await checkOperation(await open(), definition([3, 6], 1, ['gamma', 'beta'], 0.1));
  });

  test.each([
    [2047, 3],
    [4100, 2],
    [33, 700],
  ])(`layerNorm on ${id}: rows of %i elements, %i of them, far from zero`, async (d, rows) => {
    const device = await open();
    const values = randomValues(rows * d, 1).map((value) => value + 100);
    const x = device.tensor(values, [rows, d]);
    const limit = tolerance(d) * 100; // x itself is rounded to a hundredth of its deviation
    expect(relL2(await ops.layerNorm(x).read(), layerNorm({ x: widen(values) }, d, 1e-5))).toBeLessThan(limit);
  });

  test(`layerNorm on ${id}: gamma says how many axes, wrong ones are named`, async () => {
    const device = await open();
    const x = device.randn([2, 4, 3], { seed: 1 });
    const ones = device.full([4, 3], 1);
    expect(await ops.layerNorm(x, ones).read()).toEqual(await ops.layerNorm(x, null, null, { axes: 2 }).read());
    expect(() => ops.layerNorm(x, device.zeros([4]))).toThrow(/layerNorm: gamma must have shape \[3\], got \[4\]/);
    expect(() => ops.layerNorm(x, ones, device.zeros([3]))).toThrow(/layerNorm: beta must have shape \[4,3\], got \[3\]/);
    expect(() => ops.layerNorm(x, null, null, { axes: 4 })).toThrow(/option 'axes' must be at most 3/);
  });

  test(`layerNorm on ${id}: a NaN spoils its row only`, async () => {
    const device = await open();
    const y = await ops.layerNorm(device.tensor([1, Number.NaN, 3, 5, 1, 3], [3, 2])).read();
    expect([...y].map(Number.isNaN)).toEqual([true, true, false, false, false, false]);
  });
});
