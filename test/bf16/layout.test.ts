import { expect } from 'vitest';
import { eachPlacement, read } from '../support/placed.js';
import * as reference from '../support/reference.js';
import { toBf16 } from '../support/values.js';

eachPlacement((on) => {
  for (const [rows, a, b] of [
    [5, 3, 5],
    [30, 8, 16],
    [7, 12, 4],
    [9, 2, 6],
    [1, 1, 1],
    [3, 320, 24],
  ] as [number, number, number][])
    on(`concat and split of ${rows} × (${a} + ${b})`, async (placed, { native }) => {
      const [x, z] = [placed.random([rows, a], 1), placed.random([rows, b], 2)];
      const y = placed.empty([rows, a + b]);
      native.concat(x.tensor.handle, z.tensor.handle, y.handle);
      expect(await read(y)).toEqual(Float32Array.from(reference.concat(x.values, a, z.values, b)));
      const [first, second] = [placed.empty([rows, a]), placed.empty([rows, b])];
      native.split(y.handle, first.handle, second.handle);
      expect(await read(first)).toEqual(x.values);
      expect(await read(second)).toEqual(z.values);
    });

  for (const shape of [
    [2, 3, 5, 3],
    [1, 4, 4, 8],
    [3, 1, 2, 20],
    [1, 5, 3, 72],
    [2, 1, 1, 1],
  ] as [number, number, number, number][])
    on(`upsample of [${shape}] and back`, async (placed, { native }) => {
      const [n, h, w, c] = shape;
      const large = [n, 2 * h, 2 * w, c];
      const x = placed.random(shape, 1);
      const y = placed.empty(large);
      native.upsample(x.tensor.handle, y.handle);
      expect(await read(y)).toEqual(Float32Array.from(reference.upsample(x.values, shape)));

      const dy = placed.random(large, 2);
      const dx = placed.empty(shape);
      native.upsampleBackward(dy.tensor.handle, dx.handle);
      const expected = Float64Array.from(x.values, (_, i) => {
        const [row, column] = [Math.floor(i / (w * c)), Math.floor(i / c) % w];
        const at = (below: number, right: number) =>
          dy.values[((2 * row + below) * 2 * w + 2 * column + right) * c + (i % c)] as number;
        return Math.fround(Math.fround(at(0, 0) + at(0, 1)) + Math.fround(at(1, 0) + at(1, 1)));
      });
      expect(await read(dx)).toEqual(toBf16(expected));
    });
});
