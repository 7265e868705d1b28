import { expect } from 'vitest';
import { maxRelative } from '../support/compare.js';
import { eachPlacement, read } from '../support/placed.js';
import { eps32, toBf16 } from '../support/values.js';

eachPlacement((on) => {
  for (const size of [1, 13, 8192, 8193, 40_011])
    on(`mean of ${size} elements and back`, async (placed, device) => {
      const x = placed.random([size], 1, (value) => value + 3); // away from a mean of zero
      const exact = x.values.reduce((sum, value) => sum + value, 0) / size;
      const results = [0, 1].map(() => {
        const y = device.full([1], Number.NaN);
        device.native.mean(x.tensor.handle, y.handle);
        return y.read();
      });
      const [y, again] = await Promise.all(results);
      expect(maxRelative(y as Float32Array, [exact])).toBeLessThan(4 * eps32);
      expect(again).toEqual(y);
      const dx = placed.empty([size]);
      device.native.meanBackward(device.tensor([-2.5], [1]).handle, dx.handle);
      expect(await read(dx)).toEqual(toBf16(new Float32Array(size).fill(-2.5 / size)));
    });

  for (const [n, pixels, c] of [
    [3, 517, 5],
    [1, 300, 72],
    [2, 5, 8],
    [2, 256, 264],
    [4, 1, 3],
  ] as [number, number, number][])
    on(`sumPixels of [${n}, ${pixels}, ${c}]`, async (placed, device) => {
      const values = Float32Array.from({ length: n * pixels * c }, (_, i) => (i % 17) - 8); // their sums are exact
      const expected = new Float32Array(n * c);
      for (const [i, value] of values.entries()) {
        const place = Math.floor(i / (pixels * c)) * c + (i % c);
        expected[place] = (expected[place] as number) + value;
      }
      const y = device.full([n, c], Number.NaN);
      device.native.sumPixels(placed.of(values, [n, pixels, c]).handle, y.handle);
      expect(await y.read()).toEqual(expected);
    });
});
