import { expect } from 'vitest';
import { eachPlacement, read } from '../support/placed.js';
import { mean, type Pooling, pool, pooledShape } from '../support/referencePooling.js';
import { toBf16 } from '../support/values.js';

const cases: Pooling[] = [
  { shape: [2, 4, 6, 16], kernel: [2, 2], stride: [2, 2], padding: [0, 0, 0, 0] },
  { shape: [1, 7, 5, 3], kernel: [3, 2], stride: [2, 1], padding: [1, 0, 1, 1] },
];

eachPlacement((on) => {
  for (const one of cases)
    on(`pooling of [${one.shape}]`, async (placed, device) => {
      const { native } = device;
      const window = [...one.kernel, ...one.stride, ...one.padding] as const;
      const area = one.kernel[0] * one.kernel[1];
      // Small integers: every sum is exact, so that results have one value.
      const x = placed.random(one.shape, 1, (value) => Math.round(8 * value));
      const [shape, y] = [pooledShape(one), placed.empty(pooledShape(one))];
      const index = device.empty(shape, 'u8');
      native.avgPool2d(x.tensor.handle, y.handle, ...window, true);
      expect(await read(y)).toEqual(
        toBf16(pool(x.values, one, (values) => Math.fround(mean(values, 1) * Math.fround(1 / area)))),
      );
      native.maxPool2d(x.tensor.handle, y.handle, index.handle, ...window);
      expect(await read(y)).toEqual(Float32Array.from(pool(x.values, one, (values) => Math.max(...values))));

      const dy = placed.random(shape, 2, (value) => 4 * Math.round(value));
      const [dx, transposed] = [placed.empty(one.shape), placed.empty(one.shape)];
      native.avgPool2dBackward(dy.tensor.handle, dx.handle, ...window, true);
      native.maxPool2dBackward(dy.tensor.handle, index.handle, transposed.handle, ...window);
      const total = (values: Float32Array) => values.reduce((sum, value) => sum + value, 0);
      // What comes back is what went in: Σ dx·x = Σ dy·y, for the maximum exactly.
      const dot = (a: Float32Array, b: ArrayLike<number>) => a.reduce((sum, value, i) => sum + value * (b[i] as number), 0);
      expect(dot(await read(transposed), x.values)).toBe(dot(dy.values, await read(y)));
      expect(total(await read(transposed))).toBe(total(dy.values));
      const scale = dy.values.reduce((sum, value) => sum + Math.abs(value), 0) * 2 ** -8;
      const exact = dot(
        dy.values,
        pool(x.values, one, (values) => mean(values, area)),
      );
      expect(Math.abs(dot(await read(dx), x.values) - exact)).toBeLessThan(scale * 24);
    });
});
