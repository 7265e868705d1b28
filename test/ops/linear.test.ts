import { test } from 'vitest';
import { linear } from '../../lib/ops/linear.js';
import { eachDevice } from '../support/devices.js';
import { checkOperation } from '../support/operation.js';
import * as reference from '../support/reference.js';

eachDevice((id, open) => {
  test.each([
    { front: [1], c: 3, k: 5 },
    { front: [3], c: 5, k: 3 },
    { front: [3], c: 1, k: 1 },
    { front: [3, 7], c: 5, k: 9 },
    { front: [2, 3, 5], c: 4, k: 6 },
  ])(`linear on ${id}: [$front, $c] → $k`, async ({ front, c, k }) => {
    await checkOperation(await open(), {
      inputs: { x: [...front, c], weight: [c, k], bias: [k], residual: [...front, k] },
      shape: [...front, k],
      terms: Math.max(
        c,
        k,
        front.reduce((a, b) => a * b, 1),
      ),
      run: ({ x, weight, ...options }) => linear(x, weight, options),
      reference: ({ x, weight, bias, residual }) =>
        reference.linear(x, c, weight, k, bias).map((y, i) => y + (residual[i] as number)),
    });
  });

  test(`linear on ${id}: without bias and residual`, async () => {
    await checkOperation(await open(), {
      inputs: { x: [7, 11], weight: [11, 13] },
      shape: [7, 13],
      terms: 13,
      run: ({ x, weight }) => linear(x, weight),
      reference: ({ x, weight }) => reference.linear(x, 11, weight, 13),
    });
  });
});
