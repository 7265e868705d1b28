import { describe, expect, test } from 'vitest';
import { eachDevice } from '../support/devices.js';
import { fma, logUnit, multiply, normals, philox, type Source, uniform, words } from '../support/philox.js';

describe('the reference implementation', () => {
  test('agrees with the known answers of Random123 for Philox4x32-10', () => {
    const all = 0xffffffff;
    expect(philox([0, 0], [0, 0, 0, 0])).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
    expect(philox([all, all], [all, all, all, all])).toEqual([0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
    expect(philox([0xa4093822, 0x299f31d0], [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344])).toEqual([
      0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1,
    ]);
  });

  test('multiplies and rounds exactly', () => {
    for (const [a, b] of [
      [0xffffffff, 0xffffffff],
      [0xd2511f53, 0x80000001],
    ] as const) {
      const product = BigInt(a) * BigInt(b);
      expect(multiply(a, b)).toEqual([Number(product >> 32n), Number(product & 0xffffffffn)]);
    }
    // 1 + 2^-24 + 2^-60 is above the middle between two floats, although its float64 is the middle.
    expect(fma(2 ** -30, 2 ** -30, Math.fround(1))).toBe(1);
    expect(fma(1 + 2 ** -23, 2 ** -24, 1)).toBe(1 + 2 ** -23);
    expect(fma(1 - 2 ** -23, 2 ** -24, 1)).toBe(1);
    expect(logUnit(1)).toBe(0);
  });
});

const sources: Source[] = [
  { seed: 0 },
  { seed: 42, stream: 5 },
  { seed: 2 ** 53 - 1, stream: 0xffffffff, step: 0xfffffffe, firstSample: 0xfffffffe },
  { seed: 0x1234567890abc, stream: 17, step: 1000, firstSample: 3 },
];

eachDevice((id, open) => {
  const draw = async (operation: 'randomNormal' | 'randomUniform' | 'randomIntegers', source: Source, ...range: number[]) => {
    const device = await open();
    const { seed, stream = 0, step = 0, firstSample = 0 } = source;
    const y = device.empty([3, 4 * 1031 + 3], operation === 'randomIntegers' ? 'i32' : 'f32');
    device.native[operation](y.handle, ...range, 0, seed, stream, step, firstSample);
    return y.read();
  };
  const expected = (make: (sample: number, count: number) => ArrayLike<number>): number[] =>
    [0, 1, 2].flatMap((sample) => Array.from(make(sample, 4 * 1031 + 3)));

  describe.each(sources)(`random numbers on ${id}: %o`, (source) => {
    test('normals have the bits of the reference implementation', async () => {
      const y = await draw('randomNormal', source);
      expect(y).toEqual(Float32Array.from(expected((sample, count) => normals(source, sample, count))));
    });

    test('integers', async () => {
      for (const [low, high] of [
        [0, 2 ** 30],
        [-7, 1000],
        [0, 1],
      ] as const)
        expect(await draw('randomIntegers', source, low, high)).toEqual(
          Int32Array.from(
            expected((sample, count) => Array.from(words(source, sample, count), (word) => low + multiply(word, high - low)[0])),
          ),
        );
    });

    test('uniform numbers', async () => {
      const y = await draw('randomUniform', source, 0, 1);
      expect(y).toEqual(Float32Array.from(expected((sample, count) => Array.from(words(source, sample, count), uniform))));
    });
  });

  test(`normals on ${id}: moments, and the distribution by Kolmogorov and Smirnov`, async () => {
    const device = await open();
    const n = 200_000;
    const z = Float64Array.from(await device.randn([4, n / 4], { seed: 20 }).read()).sort();
    const moment = (power: number) => z.reduce((sum, value) => sum + value ** power, 0) / n;
    // Standard deviations of the sample moments of a normal variable: √(1, 2, 15, 96)/√n; four of them.
    for (const [power, value, variance] of [
      [1, 0, 1],
      [2, 1, 2],
      [3, 0, 15],
      [4, 3, 96],
    ] as const)
      expect(Math.abs(moment(power) - value)).toBeLessThan(4 * Math.sqrt(variance / n));
    const distance = z.reduce((largest, value, i) => Math.max(largest, Math.abs(normalCdf(value) - (i + 0.5) / n)), 0);
    expect(distance).toBeLessThan(1.95 / Math.sqrt(n)); // exceeded with probability 0.001
  });

  test(`a seed tensor on ${id} stands for its numbers, and advanceSeed moves its step`, async () => {
    const device = await open();
    const seed = device.tensor(Int32Array.of(-5, 3, 7, 2), [4]);
    const source = { seed: 3 * 2 ** 32 + (-5 >>> 0), step: 7, firstSample: 2 };
    expect(await device.randn([1, 9], { seed }).read()).toEqual(normals(source, 0, 9));
    device.native.advanceSeed(seed.handle);
    expect(await seed.read()).toEqual(Int32Array.of(-5, 3, 8, 2));
    expect(await device.randn([1, 9], { seed }).read()).toEqual(normals({ ...source, step: 8 }, 0, 9));
  });

  test(`without a seed on ${id} every call draws others, two devices too`, async () => {
    const device = await open();
    const drawn = await Promise.all([1, 2, 3].map(() => device.randn([8]).read()));
    expect(new Set(drawn.map(String)).size).toBe(3);
  });
});

/** Φ(x), by Abramowitz & Stegun 26.2.17, whose error is below 7.5e-8. */
function normalCdf(x: number): number {
  const t = 1 / (1 + 0.2316419 * Math.abs(x));
  const series = [1.330274429, -1.821255978, 1.781477937, -0.356563782, 0.31938153].reduce((sum, c) => sum * t + c, 0) * t;
  const upper = (Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI)) * series;
  return x >= 0 ? 1 - upper : upper;
}
