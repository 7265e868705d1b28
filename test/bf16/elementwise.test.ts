import { expect, test } from 'vitest';
import type { Device } from '../../lib/device.js';
import { maxRelative } from '../support/compare.js';
import { eachDevice, openForBf16 } from '../support/devices.js';
import { uniform, words } from '../support/philox.js';
import { Placed, read } from '../support/placed.js';
import * as reference from '../support/reference.js';
import { toBf16 } from '../support/values.js';

/** Half a unit in the last place, and a little for what came before the rounding. */
const rounding = 2 ** -8 * 1.001;
const f = Math.fround;

const slope = (x: number) => {
  const s = 1 / (1 + Math.exp(-x));
  return s * (1 + x * (1 - s));
};

eachDevice((id, open) => {
  const on = (name: string, body: (device: Device) => Promise<void>) =>
    test(`${name} in bf16 on ${id}`, async (context) => {
      const device = await openForBf16(open, context);
      await body(device);
    });

  for (const size of [1, 7, 8, 1037, 8200])
    for (const shift of [0, 1]) {
      on(`maps of ${size} elements, ${shift} into memory,`, async (device) => {
        const placed = new Placed(device, shift);
        const [a, b] = [placed.random([size], 1, (value) => 4 * value), placed.random([size], 2)];
        const { native } = device;
        const y = placed.empty([size]);
        const [first, second, to] = [a.tensor.handle, b.tensor.handle, y.handle];
        const each = (of: (x: number, z: number) => number) =>
          Float64Array.from(a.values, (x, i) => of(x, b.values[i] as number));

        native.silu(first, to);
        expect(maxRelative(await read(y), each(reference.silu)), 'silu').toBeLessThan(rounding);
        native.siluBackward(second, first, to);
        expect(
          maxRelative(
            await read(y),
            each((x, dy) => dy * slope(x)),
          ),
          'siluBackward',
        ).toBeLessThan(4 * rounding); // slope ≈ 0 near −1.28
        // Where the arithmetic in f32 is that of IEEE 754, so are the bits.
        native.add(first, second, to);
        expect(await read(y), 'add').toEqual(toBf16(each((x, z) => f(x + z))));
        native.mul(first, second, to);
        expect(await read(y), 'mul').toEqual(toBf16(each((x, z) => f(x * z))));
        native.scale(first, to, 1.7, -0.3);
        expect(await read(y), 'scale').toEqual(toBf16(each((x) => f(f(f(1.7) * x) + f(-0.3)))));
      });
    }

  on('silu far from zero, of infinity and of NaN', async (device) => {
    const placed = new Placed(device, 0);
    const x = placed.of([-1e30, -90, -20, 20, 90, 1e30, Number.POSITIVE_INFINITY, Number.NaN], [8]);
    const y = placed.empty([8]);
    device.native.silu(x.handle, y.handle);
    const [low, , small, ...rest] = await read(y);
    expect(Math.abs(low as number)).toBe(0);
    expect(small as number).toBeCloseTo(-20 * Math.exp(-20), 10);
    expect(rest).toEqual([...toBf16([20, 90, 1e30]), Number.POSITIVE_INFINITY, Number.NaN]);
  });

  for (const shape of [
    [3, 7, 5],
    [2, 64],
    [1, 1001],
    [5, 1],
  ])
    for (const shift of [0, 1])
      on(`dropout of [${shape}], ${shift} into memory, draws the mask of f32`, async (device) => {
        const [samples, size] = [shape[0] as number, shape.slice(1).reduce((a, b) => a * b, 1)];
        const placed = new Placed(device, shift);
        const x = placed.random(shape, 3);
        const y = placed.empty(shape);
        const seeds = { seed: 2 ** 40 + 9, stream: 3, step: 7, firstSample: 4 };
        device.native.dropout(x.tensor.handle, y.handle, 0.3, 0, seeds.seed, seeds.stream, seeds.step, seeds.firstSample);
        const keep = f(1 / f(1 - f(0.3)));
        const expected = Array.from({ length: samples }, (_, sample) =>
          Array.from(words(seeds, sample, size), (word, i) =>
            uniform(word) < f(0.3) ? 0 : f((x.values[sample * size + i] as number) * keep),
          ),
        ).flat();
        expect(await read(y)).toEqual(toBf16(expected));
        device.native.dropout(x.tensor.handle, y.handle, 0, 0, seeds.seed, 0, 0, 0);
        expect(await read(y)).toEqual(x.values);
      });
});
