import { expect, test } from 'vitest';
import type { Tensor } from '../../lib/tensor.js';
import { maxAbs } from '../support/compare.js';
import { eachDevice } from '../support/devices.js';
import { normals, type Source, words } from '../support/philox.js';
import { eps32, randomValues } from '../support/values.js';

const shape = [5, 3, 7, 2];
const [n, size] = [5, 3 * 7 * 2];
const steps = [2, 0, 1, 1, 2];
const table = [0.9, 0.1, 0.5, -0.75, 0.25, 0.97]; // rows (a, b)
const source: Source = { seed: 99, stream: 16, step: 2, firstSample: 1 };
const rng = [0, 99, 16, 2, 1];

/** A sum of a few products, each of the size of some units. */
const limit = 16 * eps32;

const row = (i: number): [number, number] => {
  const t = steps[Math.floor(i / size)] as number;
  return [table[2 * t] as number, table[2 * t + 1] as number];
};
const noiseValues = Float32Array.from(Array.from({ length: n }, (_, sample) => [...normals(source, sample, size)]).flat());

/** Where element i of the mirrored batch comes from; a sample is mirrored when a bit of its own says so. */
function mirrored(i: number): number {
  const sample = Math.floor(i / size);
  const bit = (words({ ...source, stream: 17 }, sample, 1)[0] as number) & 1;
  if (bit === 0) return i;
  const column = Math.floor(i / 2) % 7;
  return i + 2 * (6 - 2 * column);
}

eachDevice((id, open) => {
  const prepare = async () => {
    const device = await open();
    return { device, t: device.tensor(Int32Array.from(steps), [n]), rows: device.tensor(table, [3, 2]) };
  };

  test.each([0, 1, 2])(`noising on ${id}: drawn noise, mirrored bytes, target %i`, async (kind) => {
    const { device, t, rows } = await prepare();
    const bytes = Uint8Array.from({ length: n * size }, (_, i) => (i * 37) % 256);
    const outputs = [0, 1, 2, 3].map(() => device.empty(shape, 'f32')) as [Tensor, Tensor, Tensor, Tensor];
    const [xt, noise, target, start] = outputs;
    const inputs = [device.tensor(bytes, shape), t, rows].map((tensor) => tensor.handle);
    device.native.noising(...inputs, 0, ...outputs.map((tensor) => tensor.handle), kind, true, ...rng);
    expect(await noise.read()).toEqual(noiseValues);
    const x0 = Array.from(bytes, (_, i) => (bytes[mirrored(i)] as number) / 127.5 - 1);
    const flips = new Set(x0.map((_, i) => mirrored(i) !== i));
    expect(flips.size, 'some samples are mirrored, some are not').toBe(2);
    expect(await start.read()).toEqual(Float32Array.from(x0, (_, i) => Math.fround((bytes[mirrored(i)] as number) / 127.5) - 1));
    const blend = (i: number, a: number, b: number) => a * (x0[i] as number) + b * (noiseValues[i] as number);
    expect(
      maxAbs(
        await xt.read(),
        x0.map((_, i) => blend(i, ...row(i))),
      ),
    ).toBeLessThan(limit);
    const targets = x0.map((_, i) => {
      const [a, b] = row(i);
      return kind === 0 ? blend(i, 0, 1) : kind === 1 ? blend(i, 1, 0) : blend(i, -b, a);
    });
    expect(maxAbs(await target.read(), targets)).toBeLessThan(limit);
  });

  test(`noising on ${id}: given noise, not mirrored`, async () => {
    const { device, t, rows } = await prepare();
    const [x0, noise] = [randomValues(n * size, 1), randomValues(n * size, 2)];
    const xt = device.empty(shape, 'f32');
    const given = [device.tensor(x0, shape), t, rows, device.tensor(noise, shape), xt].map((tensor) => tensor.handle);
    device.native.noising(...given, 0, 0, 0, 0, false, ...rng);
    const expected = Array.from(x0, (x, i) => row(i)[0] * x + row(i)[1] * (noise[i] as number));
    expect(maxAbs(await xt.read(), expected)).toBeLessThan(limit);
  });

  test.each([true, false])(`blend on ${id}: by rows of a table (second operand: %s)`, async (withSecond) => {
    const { device, t, rows } = await prepare();
    const [x, z] = [randomValues(n * size, 3), randomValues(n * size, 4)];
    const y = device.empty(shape, 'f32');
    const second = withSecond ? device.tensor(z, shape).handle : 0;
    device.native.blend(device.tensor(x, shape).handle, second, t.handle, rows.handle, y.handle);
    const expected = Array.from(x, (value, i) => row(i)[0] * value + (withSecond ? row(i)[1] * (z[i] as number) : 0));
    expect(maxAbs(await y.read(), expected)).toBeLessThan(limit);
  });

  test(`gather on ${id}: f32 and i32 rows; a row outside the table rejects the read`, async () => {
    const { device, t } = await prepare();
    for (const values of [Float32Array.of(0.5, -1, 3), Int32Array.of(7, -8, 9)]) {
      const y = device.empty([n], values instanceof Float32Array ? 'f32' : 'i32');
      device.native.gather(device.tensor(values, [3]).handle, t.handle, y.handle);
      expect([...(await y.read())]).toEqual(steps.map((step) => values[step]));
    }
    const outside = device.empty([1], 'f32');
    const three = device.tensor(Int32Array.of(3), [1]);
    device.native.gather(device.zeros([3]).handle, three.handle, outside.handle);
    await expect(outside.read()).rejects.toThrow(/gather/);
  });
});
