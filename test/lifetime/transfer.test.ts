import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Device } from '../../lib/index.js';
import { OptionError, openDevice, ShapeError } from '../../lib/index.js';
import { eachDevice } from '../support/devices.js';

eachDevice((id) => {
  let device: Device;
  beforeEach(async () => {
    device = await openDevice(id);
  });
  afterEach(() => device.close());

  test('values come back as they went, for every element type', async () => {
    expect(await device.tensor(Float32Array.of(1.5, -0, Number.NaN, Infinity), [4]).read()).toEqual(
      Float32Array.of(1.5, -0, Number.NaN, Infinity),
    );
    expect(await device.tensor(Uint8Array.of(0, 255), [2]).read()).toEqual(Uint8Array.of(0, 255));
    expect(await device.tensor(Int32Array.of(-(2 ** 31), 2 ** 31 - 1), [1, 2]).read()).toEqual(
      Int32Array.of(-(2 ** 31), 2 ** 31 - 1),
    );
    expect(await device.tensor([1, 2], [2], { dtype: 'i32' }).read()).toEqual(Int32Array.of(1, 2));
    expect(await device.tensor(Uint8Array.of(3, 200), [2], { dtype: 'f32' }).read()).toEqual(Float32Array.of(3, 200));
  });

  test('bf16 rounds to nearest even and reads as f32', async () => {
    const halfway = 1 + 2 ** -8; // between 1 and 1 + 2^-7: to even
    const x = device.tensor([1, halfway, 1 + 3 * 2 ** -8, -2.5, Number.NaN, Infinity, 3.4e38, 1e-40], [8], { dtype: 'bf16' });
    expect(x.dtype).toBe('bf16');
    const values = await x.read();
    expect([...values].slice(0, 4)).toEqual([1, 1, 1 + 2 ** -6, -2.5]);
    expect(values[4]).toBeNaN();
    expect(values[5]).toBe(Infinity);
    expect(values[6]).toBe(Infinity);
    expect(values[7]).toBeGreaterThan(0); // denormals live
  });

  test('nchw data becomes nhwc and back, at sizes that are multiples of nothing', async () => {
    const [n, c, h, w] = [2, 3, 5, 7];
    const nchw = Float32Array.from({ length: n * c * h * w }, (_, i) => i);
    const x = device.tensor(nchw, [n, c, h, w], { layout: 'nchw' });
    expect(x.shape).toEqual([n, h, w, c]);
    const nhwc = await x.read();
    for (const [i, j, k, l] of [
      [1, 2, 4, 6],
      [0, 1, 3, 0],
      [1, 0, 0, 5],
    ] as const)
      expect(nhwc[((i * h + k) * w + l) * c + j]).toBe(nchw[((i * c + j) * h + k) * w + l]);
    expect(await x.read({ layout: 'nchw' })).toEqual(nchw);
    x.write(
      nchw.map((value) => -value),
      { layout: 'nchw' },
    );
    expect(await x.read({ layout: 'nchw' })).toEqual(nchw.map((value) => -value));
    const half = device.tensor(nchw, [n, c, h, w], { layout: 'nchw', dtype: 'bf16' });
    expect((await half.read({ layout: 'nchw' }))[100]).toBe(100);
    expect(() => device.tensor([1, 2], [1, 2], { layout: 'nchw' })).toThrow(ShapeError);
    await expect(device.zeros([2]).read({ layout: 'nchw' })).rejects.toThrow(ShapeError);
    await expect(x.read({ layout: 'hwc' as 'nhwc' })).rejects.toThrow(OptionError);
  });

  test('small arrays are captured at the call; large ones travel with the executor', async () => {
    const small = Float32Array.of(1, 2);
    const x = device.tensor(small, [2]);
    small.fill(9);
    expect(await x.read()).toEqual(Float32Array.of(1, 2));
    const large = new Float32Array(3_000_000).fill(4);
    const times: number[] = [];
    let y = x;
    for (let i = 0; i < 5; i++) {
      const start = performance.now();
      y = device.tensor(large, [3_000_000]);
      times.push(performance.now() - start);
    }
    expect(Math.min(...times)).toBeLessThan(1); // copying 12 MB takes several
    expect((await y.read())[2_999_999]).toBe(4);
  });

  test('denormal arithmetic of the main thread is untouched by an open device', async () => {
    const tiny = Number('1e-310');
    await device.randn([1000], { seed: 1 }).read();
    expect(tiny / 2).toBeGreaterThan(0);
    expect(Math.fround(1e-40) * 1).toBeGreaterThan(0);
  });
});
