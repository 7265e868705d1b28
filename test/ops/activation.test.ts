import { expect, test } from 'vitest';
import { backward } from '../../lib/autograd/backward.js';
import { Parameter } from '../../lib/autograd/parameter.js';
import * as ops from '../../lib/ops/index.js';
import type { Tensor } from '../../lib/tensor.js';
import { eachDevice } from '../support/devices.js';
import { checkOperation } from '../support/operation.js';
import { eps32 } from '../support/values.js';

/** Φ of the standard normal, by its Taylor series and, in the tails, by the continued fraction of Mills' ratio. */
function normalCdf(x: number): number {
  const density = Math.exp(-(x * x) / 2) / Math.sqrt(2 * Math.PI);
  if (Math.abs(x) > 6) {
    let mills = Math.abs(x);
    for (let k = 60; k >= 1; k--) mills = Math.abs(x) + k / mills;
    return x < 0 ? density / mills : 1 - density / mills;
  }
  let [sum, term] = [x, x];
  for (let k = 1; k < 200; k++) {
    term *= (x * x) / (2 * k + 1);
    sum += term;
  }
  return 0.5 + density * sum;
}

type Map1 = (x: number) => number;

/** Each function, and its derivative. */
const functions: Record<string, { run(x: ops.TensorLike): Tensor; of: Map1; slope: Map1 }> = {
  relu: { run: ops.relu, of: (x) => Math.max(0, x), slope: (x) => (x > 0 ? 1 : 0) },
  gelu: {
    run: (x) => ops.gelu(x),
    of: (x) => x * normalCdf(x),
    slope: (x) => normalCdf(x) + (x * Math.exp(-(x * x) / 2)) / Math.sqrt(2 * Math.PI),
  },
  'gelu, approximate': {
    run: (x) => ops.gelu(x, { approximate: 'tanh' }),
    of: (x) => x / (1 + Math.exp(-2 * Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
    slope: (x) => {
      const u = 2 * Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3);
      const s = 1 / (1 + Math.exp(-u));
      return s + x * s * (1 - s) * 2 * Math.sqrt(2 / Math.PI) * (1 + 3 * 0.044715 * x * x);
    },
  },
  sigmoid: { run: ops.sigmoid, of: (x) => 1 / (1 + Math.exp(-x)), slope: (x) => 1 / (2 + Math.exp(x) + Math.exp(-x)) },
  tanh: { run: ops.tanh, of: Math.tanh, slope: (x) => 4 / (2 + Math.exp(2 * x) + Math.exp(-2 * x)) },
};

eachDevice((id, open) => {
  for (const [name, { run, of, slope }] of Object.entries(functions)) {
    test(`${name} on ${id}: activation and gradient`, async () => {
      await checkOperation(await open(), {
        inputs: { x: [1, 7, 5, 3] },
        shape: [1, 7, 5, 3],
        terms: 4,
        run: ({ x }) => run(x as Tensor),
        reference: ({ x }) => x.map(of),
      });
    });

    test(`${name} on ${id}: over the whole range`, async () => {
      const device = await open();
      const values = Float32Array.from({ length: 4001 }, (_, i) => (i - 2000) / 100);
      const x = new Parameter('x', [4001], 'plain', device.tensor(values, [4001]), device.zeros([4001]));
      const y = run(x);
      const result = await y.read();
      backward(ops.sum(y));
      const gradient = await x.grad.read();
      for (const [i, value] of values.entries()) {
        const tail = 1 + value * value; // rounding x² in an exponent
        expect(Math.abs((result[i] as number) - of(value)), `f(${value})`).toBeLessThanOrEqual(
          8 * eps32 * tail * Math.abs(of(value)) + 1e-37,
        );
        // Where summands of the derivative cancel, their own size counts.
        expect(Math.abs((gradient[i] as number) - slope(value)), `f'(${value})`).toBeLessThanOrEqual(
          8 * eps32 * Math.max(Math.abs(slope(value)), Math.abs(of(value))) + 8 * eps32 * tail * Math.abs(slope(value)) + 1e-37,
        );
      }
    });

    test(`${name} on ${id}: NaN and its ends`, async () => {
      const device = await open();
      const x = new Parameter('x', [4], 'plain', device.tensor([Number.NaN, 1e30, -1e30, 0], [4]), device.zeros([4]));
      const y = run(x);
      const [nan, high, low, zero] = await y.read();
      backward(ops.sum(y));
      expect([nan, Math.abs(low as number), zero]).toEqual([Number.NaN, Math.abs(of(-1e30)), of(0)]);
      expect(high).toBe(Math.fround(of(1e30)));
      const [nanSlope, ...slopes] = await x.grad.read();
      expect(nanSlope).toBeNaN();
      expect(slopes.map(Math.abs)).toEqual(
        [slope(50), 0, slope(0)].map((value) => Math.fround(value) && Math.round(4 * value) / 4),
      );
    });
  }
});
