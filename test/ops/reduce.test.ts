import { expect, test } from 'vitest';
import { asTensor } from '../../lib/ops/check.js';
import * as ops from '../../lib/ops/index.js';
import { lossPerSample } from '../../lib/ops/reduce.js';
import { maxRelative } from '../support/compare.js';
import { eachDevice } from '../support/devices.js';
import { checkOperation } from '../support/operation.js';
import { eps32, randomValues, sizeOf } from '../support/values.js';

function squaredErrors(prediction: Float64Array, target: Float64Array, samples: number): Float64Array {
  const size = prediction.length / samples;
  const sums = new Float64Array(samples);
  for (const [i, value] of prediction.entries()) {
    const n = Math.floor(i / size);
    sums[n] = (sums[n] as number) + (value - (target[i] as number)) ** 2 / size;
  }
  return sums;
}

const at = (values: ArrayLike<number>, i: number) => values[i] as number;

/** Mean over each of so many samples. */
function perSample(values: number[], samples: number): number[] {
  const size = values.length / samples;
  return Array.from({ length: samples }, (_, n) => values.slice(n * size, (n + 1) * size).reduce((sum, v) => sum + v / size, 0));
}

const costs = {
  mse: (d: number) => d * d,
  l1: Math.abs,
  huber: (d: number) => (Math.abs(d) < 1 ? d * d : 2 * Math.abs(d) - 1) / 2,
};

eachDevice((id, open) => {
  test.each([[[1]], [[3, 5, 7]], [[2, 4, 4, 3]]])(`mean on ${id}: %j`, async (shape) => {
    await checkOperation(await open(), {
      inputs: { x: shape },
      shape: [1],
      terms: sizeOf(shape),
      prepare: { x: (value) => Math.fround(value + 3) }, // away from a mean of zero, whose relative error has no bound
      run: ({ x }) => ops.mean(x),
      reference: ({ x }) => [x.reduce((sum, value) => sum + value, 0) / x.length],
    });
  });

  test(`mean on ${id}: of many elements, to the last place but one`, async () => {
    const device = await open();
    const x = device.randn([1_000_003], { seed: 8 });
    const values = (await ops.scale(x, 1, 5).read()) as Float32Array;
    const expected = values.reduce((sum, value) => sum + value, 0) / values.length;
    expect(maxRelative(await ops.mean(device.tensor(values, [values.length])).read(), [expected])).toBeLessThan(4 * eps32);
  });

  test.each([[[3, 5, 7]], [[1, 9]], [[4]]])(`mseLoss and mseLossPerSample on ${id}: %j`, async (shape) => {
    const device = await open();
    const samples = shape[0] as number;
    const shared = { inputs: { prediction: shape, target: shape }, terms: sizeOf(shape) };
    await checkOperation(device, {
      ...shared,
      shape: [samples],
      run: ({ prediction, target }) => ops.mseLossPerSample(prediction, target),
      reference: ({ prediction, target }) => squaredErrors(prediction, target, samples),
    });
    await checkOperation(device, {
      ...shared,
      shape: [1],
      run: ({ prediction, target }) => ops.mseLoss(prediction, target),
      reference: ({ prediction, target }) => squaredErrors(prediction, target, 1),
    });
  });

  test.each([
    { kind: 'mse', shape: [3, 7, 5, 3] },
    { kind: 'l1', shape: [3, 7, 5, 3] },
    { kind: 'huber', shape: [1, 1, 1, 1] },
    { kind: 'l1', shape: [2, 1, 4] },
    { kind: 'huber', shape: [2, 3, 8] },
  ] as const)(`mseLoss on ${id}: $kind of $shape, and with variance channels behind`, async ({ kind, shape }) => {
    const [samples, c] = [shape[0], shape.at(-1) as number];
    const per = sizeOf(shape) / samples;
    const device = await open();
    for (const factor of [1, 2]) {
      const target = device.tensor(randomValues(sizeOf(shape), 77), shape);
      const values = await target.read();
      await checkOperation(device, {
        inputs: { prediction: [...shape.slice(0, -1), factor * c] },
        shape: [samples],
        terms: 4 * per,
        run: ({ prediction }) => lossPerSample('test', asTensor('test', 'prediction', prediction), target, kind),
        reference: ({ prediction }) => {
          const differences = Array.from(values, (value, i) => at(prediction, i + (factor - 1) * c * Math.floor(i / c)) - value);
          return perSample(differences.map(costs[kind]), samples);
        },
      });
    }
  });

  test(`mseLoss on ${id}: of many elements with variance channels behind, to the last place but one`, async () => {
    const device = await open();
    const [p, t] = [device.randn([2, 211, 97, 6], { seed: 8 }), device.randn([2, 211, 97, 3], { seed: 9 })];
    const [prediction, target] = [await p.read(), await t.read()];
    const squares = Array.from(target, (value, i) => (at(prediction, i + 3 * Math.floor(i / 3)) - value) ** 2);
    expect(maxRelative(await lossPerSample('test', p, t, 'mse').read(), perSample(squares, 2))).toBeLessThan(4 * eps32);
  });

  test(`sumPixels on ${id}: sums over all axes between the first and the last`, async () => {
    const device = await open();
    const [n, pixels, c] = [3, 4099, 5];
    const values = Float32Array.from({ length: n * pixels * c }, (_, i) => (i % 17) - 8); // exact in float32
    const expected = new Float32Array(n * c);
    for (const [i, value] of values.entries()) {
      const place = Math.floor(i / (pixels * c)) * c + (i % c);
      expected[place] = (expected[place] as number) + value;
    }
    const y = device.empty([n, c], 'f32');
    device.native.sumPixels(device.tensor(values, [n, pixels, c]).handle, y.handle);
    expect(await y.read()).toEqual(expected);
  });
});
