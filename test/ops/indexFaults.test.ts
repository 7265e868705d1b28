import { expect, test } from 'vitest';
import type { Device } from '../../lib/device.js';
import type { Tensor } from '../../lib/tensor.js';
import { eachDevice } from '../support/devices.js';
import { randomValues } from '../support/values.js';

const rng = [0, 1, 2, 3, 0];
const random = (device: Device, shape: number[], seed: number) =>
  device.tensor(
    randomValues(
      shape.reduce((a, b) => a * b, 1),
      seed,
    ),
    shape,
  );

/** Every operation that reads indices, and each of its outputs: [3, 5] of f32 computed from [3] indices below 4. */
const operations: Record<string, (device: Device, t: Tensor, x: Tensor, y: Tensor) => void> = {
  embedding: (device, t, x, y) => device.native.embedding(t.handle, random(device, [4, 5], 1).handle, x.handle, y.handle),
  blend: (device, t, x, y) => device.native.blend(x.handle, 0, t.handle, random(device, [4, 2], 1).handle, y.handle),
  gather: (device, t, _, y) => device.native.gather(random(device, [4], 1).handle, t.handle, y.alias([3]).handle),
  ...Object.fromEntries(
    [0, 1, 2, 3].map((output) => [
      `noising, output ${output}`,
      (device: Device, t: Tensor, x: Tensor, y: Tensor) => {
        const outputs = [0, 1, 2, 3].map((i) => (i === output ? y : device.empty([3, 5], 'f32')).handle);
        device.native.noising(x.handle, t.handle, random(device, [4, 2], 1).handle, 0, ...outputs, 1, false, ...rng);
      },
    ]),
  ),
  ...Object.fromEntries(
    [0, 1].map((output) => [
      `reverseStep, output ${output}`,
      (device: Device, t: Tensor, x: Tensor, y: Tensor) => {
        const outputs = [0, 1].map((i) => (i === output ? y : device.empty([3, 5], 'f32')).handle);
        const inputs = [x.handle, 0, x.handle, x.handle, x.handle, t.handle, random(device, [4, 13], 1).handle];
        device.native.reverseStep(...inputs, 0, 0, ...outputs, 1, 1, 0, ...rng);
      },
    ]),
  ),
};

eachDevice((id, open) => {
  test.each(Object.keys(operations))(`an index outside its table on ${id} lets no optimiser step happen: %s`, async (name) => {
    const device = await open();
    const t = device.tensor(Int32Array.of(0, 3, 1), [3]);
    const [x, hyper] = [random(device, [3, 5], 2), device.tensor([0.1, 0.1, 0.1, 0], [4])];
    const [value, m, v] = [5, 6, 7].map((seed) => random(device, [15], seed).alias([15])) as [Tensor, Tensor, Tensor];
    v.write(new Float32Array(15).fill(1));
    const program = device.record(() => {
      const y = device.full([3, 5], 0.5);
      (operations[name] as (typeof operations)[string])(device, t, x, y);
      const norm = device.empty([2], 'f32');
      device.native.gradientNorm(y.handle, 0, norm.handle, 1);
      const states = [value, y, m, v].map((tensor) => tensor.handle);
      device.native.adamW(...states, 0, 0, norm.handle, hyper.handle, 0.9, 0.999, 1e-8, 0);
    });
    const read = () => Promise.all([value, m, v].map((tensor) => tensor.read()));
    const start = await read();
    for (const bad of [4, name === 'embedding' ? -2 : -1]) {
      t.write([0, bad, 1]);
      program.run();
      expect(await read()).toEqual(start);
    }
    t.write([0, 3, 1]);
    program.run();
    for (const [i, after] of (await read()).entries()) expect(after).not.toEqual(start[i]);
    program.dispose();
  });
});
