import { expect, test } from 'vitest';
import * as ops from '../../lib/ops/index.js';
import { maxAbs } from '../support/compare.js';
import { eachDevice } from '../support/devices.js';
import { checkOperation } from '../support/operation.js';
import { eps32, sizeOf } from '../support/values.js';

function softmax(x: ArrayLike<number>, d: number): Float64Array {
  const y = new Float64Array(x.length);
  for (let first = 0; first < x.length; first += d) {
    const row = Array.from({ length: d }, (_, i) => x[first + i] as number);
    const most = Math.max(...row);
    const e = row.map((value) => Math.exp(value - most));
    const total = e.reduce((a, b) => a + b, 0);
    y.set(
      e.map((value) => value / total),
      first,
    );
  }
  return y;
}

eachDevice((id, open) => {
  test.each([[[3, 5, 7]], [[1, 1]], [[2, 64]], [[1, 7, 5, 3]]])(`softmax on ${id}: %j`, async (shape) => {
    await checkOperation(await open(), {
      inputs: { x: shape },
      shape,
      terms: sizeOf(shape),
      prepare: { x: (value) => Math.fround(3 * value) },
      run: ({ x }) => ops.softmax(x),
      reference: ({ x }) => softmax(x, shape.at(-1) as number),
    });
  });

  test.each([2047, 2048, 5001])(`softmax on ${id}: rows of %i elements`, async (d) => {
    const device = await open();
    const x = device.randn([3, d], { seed: 1 });
    const y = await ops.softmax(x).read();
    const expected = softmax(await x.read(), d);
    expect(maxAbs(y, expected)).toBeLessThan(16 * eps32 * Math.max(...expected));
  });

  test(`softmax on ${id}: large values do not overflow, non-finite ones spoil their row only`, async () => {
    const device = await open();
    const { NaN: nan, POSITIVE_INFINITY: plus, NEGATIVE_INFINITY: minus } = Number;
    const x = device.tensor([1e30, 1e30, minus, 0, plus, 0, 0, nan, minus, minus], [5, 2]);
    expect([...(await ops.softmax(x).read())]).toEqual([0.5, 0.5, 0, 1, nan, nan, nan, nan, nan, nan]);
  });
});
