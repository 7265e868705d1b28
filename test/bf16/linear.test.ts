import { expect, test } from 'vitest';
import { relL2 } from '../support/compare.js';
import { eachDevice, openForBf16 } from '../support/devices.js';
import * as reference from '../support/reference.js';
import { randomValues, toBf16, widen } from '../support/values.js';

interface LinearCase {
  m: number;
  c: number;
  k: number;
  residual?: boolean;
  /** Tensors that begin at an odd element of their memory. */
  odd?: boolean;
}

const cases: LinearCase[] = [
  { m: 1, c: 3, k: 5 },
  { m: 7, c: 24, k: 40, residual: true },
  { m: 70, c: 33, k: 65, residual: true },
  { m: 5, c: 1, k: 1 },
  { m: 16, c: 72, k: 8, odd: true, residual: true },
  { m: 3, c: 600, k: 16, residual: true },
  { m: 600, c: 16, k: 24 },
];

const transposed = (values: Float64Array, rows: number) =>
  values.map((_, i) => values[(i % rows) * (values.length / rows) + Math.floor(i / rows)] as number);

eachDevice((id, open) => {
  test.for(cases)(`linear in bf16 on ${id}: %o`, async ({ m, c, k, residual = false, odd = false }, context) => {
    const device = await openForBf16(open, context);
    const place = (values: ArrayLike<number>, shape: readonly number[]) => {
      const memory = device.tensor([Number.NaN, ...Array.from(values)], [values.length + 1], { dtype: 'bf16' });
      return odd ? memory.alias(shape, 1) : device.tensor(Float32Array.from(values), shape, { dtype: 'bf16' });
    };
    const [x, weight, dy, added] = [m * c, c * k, m * k, m * k].map((size, i) => toBf16(randomValues(size, i + 1))) as Four;
    const bias = randomValues(k, 5);
    const [xs, ws, dys] = [place(x, [m, c]), place(weight, [c, k]), place(dy, [m, k])];
    const { native } = device;

    const expected = reference.linear(x, c, weight, k, bias).map((value, i) => value + (residual ? (added[i] as number) : 0));
    const results = [0, 1].map(() => {
      const y = place(new Float32Array(m * k).fill(Number.NaN), [m, k]);
      const before = residual ? place(added, [m, k]).handle : 0;
      native.linear(xs.handle, ws.handle, device.tensor(bias, [k]).handle, before, y.handle);
      return y.read();
    });
    const [y, again] = await Promise.all(results);
    expect(relL2(y as Float32Array, expected), 'y').toBeLessThan(4e-3);
    expect(again, 'a second time').toEqual(y);

    const dx = place(new Float32Array(m * c).fill(Number.NaN), [m, c]);
    native.linearBackwardData(dys.handle, ws.handle, dx.handle);
    expect(relL2(await dx.read(), reference.linear(dy, k, transposed(widen(weight), c), c)), 'dx').toBeLessThan(4e-3);

    const [dweight, dbias] = [device.full([c, k], Number.NaN), device.full([k], Number.NaN)];
    const product = reference.linear(transposed(widen(x), m), m, dy, k);
    const sums = reference.linear(new Float64Array(m).fill(1), m, dy, k);
    for (const times of [1, 2]) {
      native.linearBackwardWeights(xs.handle, dys.handle, dweight.handle, dbias.handle, times > 1);
      expect(
        relL2(
          await dweight.read(),
          product.map((value) => times * value),
        ),
        'dweight',
      ).toBeLessThan(1e-5);
      expect(
        relL2(
          await dbias.read(),
          sums.map((value) => times * value),
        ),
        'dbias',
      ).toBeLessThan(1e-5);
    }
  });
});

type Four = [Float32Array, Float32Array, Float32Array, Float32Array];
