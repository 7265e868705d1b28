import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  type Device,
  DTypeError,
  NonFiniteError,
  OptionError,
  openDevice,
  ShapeError,
  slicedWasserstein,
} from '../../lib/index.js';
import { quietest } from '../support/eventLoop.js';
import { tinyData } from '../train/tiny.js';

let device: Device;
beforeAll(async () => {
  device = await openDevice('cpu');
});
afterAll(() => device.close());

/** Images of smooth waves in [-1, 1]. */
const waves = (count: number, seed: number) =>
  device.tensor(
    Float32Array.from(tinyData(count, seed).images, (value) => value / 127.5 - 1),
    [count, 8, 8, 3],
  );

test('in one dimension it is the distance of sorted values', async () => {
  const [a, b] = [device.tensor([0, 1, 2, 7], [4, 1]), device.tensor([3, 11, 4, 5], [4, 1])];
  const exact = Math.sqrt((3 ** 2 + 3 ** 2 + 3 ** 2 + 4 ** 2) / 4);
  expect(await slicedWasserstein(a, b, { projections: 3 })).toBeCloseTo(exact, 5);
});

test('it is the formula, in float64, over the same directions', async () => {
  const [count, values, projections] = [7, 45, 33];
  const [a, b] = [device.randn([count, 3, 5, 3], { seed: 1 }), device.randn([count, 3, 5, 3], { seed: 2 })];
  const theta = (await device.randn([values, projections], { seed: 4 }).read()) as Float32Array;
  const [x, y] = await Promise.all([a.read(), b.read()]);
  const dot = (set: ArrayLike<number>, i: number, p: number) => {
    let sum = 0;
    for (let k = 0; k < values; k++) sum += (set[i * values + k] as number) * (theta[k * projections + p] as number);
    return sum;
  };
  let sum = 0;
  for (let p = 0; p < projections; p++) {
    const sorted = [x, y].map((set) => Float64Array.from({ length: count }, (_, i) => dot(set, i, p)).sort());
    let norm = 0;
    for (let k = 0; k < values; k++) norm += (theta[k * projections + p] as number) ** 2;
    for (let i = 0; i < count; i++) sum += ((sorted[0]?.[i] as number) - (sorted[1]?.[i] as number)) ** 2 / norm / count;
  }
  const distance = await slicedWasserstein(a, b, { projections, seed: 4 });
  expect(Math.abs(distance / Math.sqrt(sum / projections) - 1)).toBeLessThan(1e-5);
  expect(await slicedWasserstein(b, a, { projections, seed: 4 })).toBeCloseTo(distance, 6);
});

test('data from itself 0, from other data little, from noise much', async () => {
  const count = 32;
  const data = waves(count, 0);
  const values = (await data.read()) as Float32Array;
  const reversed = new Float32Array(values.length);
  for (let i = 0; i < count; i++) reversed.set(values.subarray(i * 192, (i + 1) * 192), (count - 1 - i) * 192);
  expect(await slicedWasserstein(data, device.tensor(reversed, data.shape))).toBeLessThan(1e-6);
  const other = await slicedWasserstein(data, waves(count, 0.5));
  const noise = await slicedWasserstein(data, device.randn(data.shape, { seed: 3 }));
  expect(other).toBeGreaterThan(1e-3);
  expect(noise).toBeGreaterThan(2 * other);
});

test('a shift of every value by c is a distance of about |c|', async () => {
  const a = device.randn([5, 6, 6, 1], { seed: 1 });
  const b = device.tensor(
    ((await a.read()) as Float32Array).map((value) => value - 0.5),
    a.shape,
  );
  // (Σθ)² has mean 1 and standard deviation √2: its mean over 4000 directions 0.022, so the root 0.011; five of these.
  expect(Math.abs((await slicedWasserstein(a, b, { projections: 4000 })) / 0.5 - 1)).toBeLessThan(0.06);
});

test('what cannot be compared is refused', async () => {
  const a = waves(4, 0);
  await expect(slicedWasserstein(a, waves(5, 0))).rejects.toThrow(ShapeError);
  await expect(slicedWasserstein(a, device.zeros([4, 8, 8, 3], { dtype: 'u8' }))).rejects.toThrow(DTypeError);
  await expect(slicedWasserstein(a, a, { projections: 0 })).rejects.toThrow(OptionError);
  await expect(slicedWasserstein(a, device.full(a.shape, Number.NaN))).rejects.toThrow(NonFiniteError);
  await expect(slicedWasserstein(a, a, { signal: AbortSignal.abort() })).rejects.toThrow(/abort/i);
});

test('the event loop stays free, and memory is as before', async () => {
  const [a, b] = [device.randn([2048, 16, 16, 3], { seed: 1 }), device.randn([2048, 16, 16, 3], { seed: 2 })];
  await device.synchronize();
  const before = device.memory().usedBytes;
  const comparing = async () => {
    const began = performance.now();
    let last = began;
    let longest = 0;
    const ticking = setInterval(() => {
      longest = Math.max(longest, performance.now() - last);
      last = performance.now();
    }, 1);
    await slicedWasserstein(a, b, { projections: 1024 });
    longest = Math.max(longest, performance.now() - last);
    clearInterval(ticking);
    return longest / (performance.now() - began);
  };
  // Sorting is most of the work: at one stretch it would take more than half of the time.
  expect(await quietest(3, comparing)).toBeLessThan(0.15);
  expect(device.memory().usedBytes).toBeLessThanOrEqual(before); // less where garbage of other tests went meanwhile
});
