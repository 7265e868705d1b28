import { expect, test } from 'vitest';
import { backward } from '../../lib/autograd/backward.js';
import { Parameter } from '../../lib/autograd/parameter.js';
import * as ops from '../../lib/ops/index.js';
import { maxAbs } from '../support/compare.js';
import { eachDevice } from '../support/devices.js';
import { checkOperation } from '../support/operation.js';
import { uniform, words } from '../support/philox.js';
import { silu } from '../support/reference.js';
import { eps32 } from '../support/values.js';

const shape = [3, 5, 7];
const pairs = { a: shape, b: shape };

eachDevice((id, open) => {
  test(`add on ${id}`, async () => {
    await checkOperation(await open(), {
      inputs: pairs,
      shape,
      terms: 1,
      run: ({ a, b }) => ops.add(a, b),
      reference: ({ a, b }) => a.map((value, i) => value + (b[i] as number)),
    });
  });

  test(`mul on ${id}`, async () => {
    await checkOperation(await open(), {
      inputs: pairs,
      shape,
      terms: 1,
      run: ({ a, b }) => ops.mul(a, b),
      reference: ({ a, b }) => a.map((value, i) => value * (b[i] as number)),
    });
  });

  test(`add and mul on ${id}: a tensor with itself has both gradients`, async () => {
    await checkOperation(await open(), {
      inputs: { x: [9] },
      shape: [9],
      terms: 2,
      run: ({ x }) => ops.add(ops.mul(x, x), ops.add(x, x)),
      reference: ({ x }) => x.map((value) => value * value + 2 * value),
    });
  });

  test(`scale on ${id}`, async () => {
    await checkOperation(await open(), {
      inputs: { x: [11] },
      shape: [11],
      terms: 2,
      run: ({ x }) => ops.scale(x, -0.375, 2.5),
      reference: ({ x }) => x.map((value) => -0.375 * value + 2.5),
    });
  });

  test(`silu on ${id}`, async () => {
    await checkOperation(await open(), {
      inputs: { x: shape },
      shape,
      terms: 1,
      run: ({ x }) => ops.silu(x),
      reference: ({ x }) => x.map(silu),
    });
  });

  test(`silu on ${id}: over the whole range, to a few units in the last place; its ends`, async () => {
    const device = await open();
    const x = Float32Array.from({ length: 4001 }, (_, i) => (i - 2000) / 25);
    const y = await ops.silu(device.tensor(x, [x.length])).read();
    for (const [i, value] of y.entries()) {
      const expected = silu(x[i] as number);
      expect(Math.abs(value - expected)).toBeLessThanOrEqual(8 * eps32 * Math.abs(expected) + 1e-37);
    }
    const ends = await ops.silu(device.tensor([1e30, -1e30, 0, Number.NaN], [4])).read();
    expect([...ends].map(Math.abs)).toEqual([Math.fround(1e30), 0, 0, Number.NaN]);
  });

  test(`dropout on ${id}: the mask is a function of seed, stream, step and sample`, async () => {
    const device = await open();
    const [n, size] = [3, 4099];
    const source = { seed: 987654321987, stream: 9, step: 4, firstSample: 1 };
    const x = device.full([n, size], 2);
    const y = await ops.dropout(x, 0.3, source).read();
    const expected = Array.from({ length: n }, (_, sample) =>
      Array.from(words(source, sample, size), (word) => (uniform(word) < Math.fround(0.3) ? 0 : 2 / 0.7)),
    ).flat();
    expect(maxAbs(y, expected)).toBeLessThan(8 * eps32);
    expect(y).toEqual(await ops.dropout(x, 0.3, source).read());
    for (const other of [{ seed: 1 }, { stream: 8 }, { step: 5 }, { firstSample: 2 }])
      expect(await ops.dropout(x, 0.3, { ...source, ...other }).read()).not.toEqual(y);
    // Binomial: four standard deviations of the share that is kept.
    const kept = Array.from(y).filter((value) => value !== 0).length / y.length;
    expect(Math.abs(kept - 0.7)).toBeLessThan(4 * Math.sqrt((0.3 * 0.7) / y.length));
  });

  test(`dropout on ${id}: a seed tensor draws as the number does`, async () => {
    const device = await open();
    const x = device.full([2, 100], 1);
    const seed = device.tensor(Int32Array.of(77, 0, 3, 1), [4]);
    const byTensor = await ops.dropout(x, 0.5, { seed, stream: 6 }).read();
    expect(byTensor).toEqual(await ops.dropout(x, 0.5, { seed: 77, stream: 6, step: 3, firstSample: 1 }).read());
  });

  test.each([{ seed: 5 }, {}])(`dropout on ${id}: backward draws the same mask (%o)`, async (options) => {
    const device = await open();
    const x = new Parameter('x', [2, 301], 'plain', device.full([2, 301], 1), device.zeros([2, 301]));
    const y = ops.dropout(x, 0.4, options);
    ops.dropout(x, 0.4, options); // moves the device's own stream on
    backward(ops.scale(ops.mean(y), 602));
    expect(maxAbs(await x.grad.read(), await y.read())).toBeLessThan(1e-6);
  });

  test(`dropout on ${id}: p = 0 keeps everything`, async () => {
    const device = await open();
    const x = device.randn([3, 7], { seed: 1 });
    expect(await ops.dropout(x, 0).read()).toEqual(await x.read());
  });
});
