import { expect, test } from 'vitest';
import * as ops from '../../lib/ops/index.js';
import { maxRelative } from '../support/compare.js';
import { eachDevice } from '../support/devices.js';
import { checkOperation } from '../support/operation.js';
import { eps32, sizeOf } from '../support/values.js';

function squaredErrors(prediction: Float64Array, target: Float64Array, samples: number): Float64Array {
  const size = prediction.length / samples;
  const sums = new Float64Array(samples);
  for (const [i, value] of prediction.entries()) {
    const n = Math.floor(i / size);
    sums[n] = (sums[n] as number) + (value - (target[i] as number)) ** 2 / size;
  }
  return sums;
}

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
