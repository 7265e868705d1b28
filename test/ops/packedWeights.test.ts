import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Device, openDevice, ops, type Tensor } from '../../lib/index.js';

// On the CPU weights are kept in the layout that oneDNN reads: every way of writing them must be noticed.
let device: Device;
beforeAll(async () => {
  device = await openDevice('cpu', { threads: 2 });
});
afterAll(() => device.close());

const [c, k] = [24, 40];
const operations: Record<string, { shape: number[]; run: (x: Tensor, weight: Tensor) => Tensor }> = {
  'a convolution': { shape: [3, 3, c, k], run: (x, weight) => ops.conv2d(x, weight, { padding: 1 }) },
  'an upsampling convolution': {
    shape: [3, 3, c, k],
    run: (x, weight) => ops.conv2d(x, weight, { padding: 1, upsample: true }),
  },
  'a linear map': { shape: [c, k], run: (x, weight) => ops.linear(x, weight) },
};

const ways: Record<string, (weight: Tensor, other: Tensor) => void | Promise<void>> = {
  'an operation': (weight, other) => device.native.cast(other.handle, weight.handle),
  'an operation on a part': (weight, other) => {
    const rows = weight.size / k - 1;
    const part = (tensor: Tensor) => tensor.alias([1, k], rows * k);
    device.native.cast(part(other).handle, part(weight).handle);
  },
  'an upload': async (weight, other) => weight.write((await other.read()) as Float32Array),
};

describe.each(Object.entries(operations))('the weight of %s', (_, { shape, run }) => {
  it.each(Object.entries(ways))('is packed again after %s', async (_name, write) => {
    const x = device.randn([2, 6, 5, c], { seed: 1 });
    const weight = device.randn(shape, { seed: 2 });
    const other = device.randn(shape, { seed: 3 });
    const before = (await run(x, weight).read()) as Float32Array;
    for (let use = 0; use < 5; use++) expect(await run(x, weight).read()).toEqual(before); // kept from the second on
    await write(weight, other);
    const after = (await run(x, weight).read()) as Float32Array;
    expect(after).not.toEqual(before);
    const fresh = device.tensor((await weight.read()) as Float32Array, shape);
    expect(after).toEqual(await run(x, fresh).read());
  });

  it('is not mistaken for another that takes its memory over', async () => {
    const x = device.randn([1, 4, 4, c], { seed: 1 });
    for (let seed = 1; seed < 6; seed++) {
      const weight = device.randn(shape, { seed });
      const first = (await run(x, weight).read()) as Float32Array;
      for (let use = 0; use < 3; use++) expect(await run(x, weight).read()).toEqual(first);
      weight.dispose();
      const next = device.randn(shape, { seed: seed + 100 });
      expect(await run(x, next).read()).not.toEqual(first);
      next.dispose();
    }
  });
});
