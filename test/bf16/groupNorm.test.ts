import { expect, test } from 'vitest';
import type { Device } from '../../lib/device.js';
import type { Tensor } from '../../lib/tensor.js';
import { relL2 } from '../support/compare.js';
import { eachDevice, openForBf16 } from '../support/devices.js';
import { uniform, words } from '../support/philox.js';
import { Placed, read } from '../support/placed.js';
import { concat } from '../support/reference.js';
import { groupNormBackward } from '../support/referenceGroupNorm.js';
import { randomValues, sizeOf, toBf16 } from '../support/values.js';

interface Case {
  front: number[];
  c: number;
  c2?: number;
  groups: number;
  silu?: boolean;
  scaleShift?: boolean;
  dropout?: number;
  shift?: number;
  /** Pixels of the pieces whose sums are given, of x and of x2. */
  pieces?: [number, number];
  /** Mean of the values, whose deviation is 1. */
  mean?: number;
}

const seeds = { seed: 2 ** 40 + 5, stream: 3, step: 11, firstSample: 2 };
const rng = [0, seeds.seed, seeds.stream, seeds.step, seeds.firstSample];
const eps = 1e-5;

function setUp(device: Device, { front, c, c2 = 0, groups, silu = false, scaleShift, dropout = 0, ...rest }: Case) {
  const placed = new Placed(device, rest.shift ?? 0);
  const [n, all] = [front[0] as number, c + c2];
  const size = sizeOf(front) * all;
  const prepare = (value: number) => 1.5 * value + (rest.mean ?? 0.7) * 1.5;
  const x = placed.random([...front, c], 1, prepare);
  const x2 = c2 ? placed.random([...front, c2], 2, prepare) : null;
  const dy = placed.random([...front, all], 3);
  const weights = [4, 5, 6].map((seed, i) => randomValues(i < 2 ? all : 2 * n * all, seed).map((value) => 0.3 * value));
  const [gamma, beta, around] = [weights[0]?.map((value) => 1 + value), ...weights.slice(1)] as [
    Float32Array,
    Float32Array,
    Float32Array,
  ];
  const mask = new Float64Array(size).fill(1);
  if (dropout)
    for (let sample = 0; sample < n; sample++)
      for (const [i, word] of words(seeds, sample, size / n).entries())
        mask[(sample * size) / n + i] = uniform(word) < Math.fround(dropout) ? 0 : 1 / (1 - dropout);
  const values = x2 ? concat(x.values, c, x2.values, c2) : Float64Array.from(x.values);
  const exact = { x: values, n, c: all, groups, gamma, beta, eps, silu, mask, ...(scaleShift && { scaleShift: around }) };
  const tensors = {
    x: x.tensor,
    x2: x2?.tensor ?? null,
    dy: dy.tensor,
    gamma: device.tensor(gamma, [all]),
    beta: device.tensor(beta, [all]),
    scaleShift: scaleShift ? device.tensor(around, [n, 2 * all]) : null,
  };
  return { placed, x, x2, dy, exact, tensors, silu, dropout, n, all };
}

const handle = (tensor: Tensor | null) => tensor?.handle ?? 0;

/** Σ and Σ² over each `pixels` pixels of a sample, as a convolution leaves them. */
function sumsOf(device: Device, { values, tensor }: { values: Float32Array; tensor: Tensor }, pixels: number): Tensor {
  const [n, c] = [tensor.shape[0] as number, tensor.shape.at(-1) as number];
  const pieces = values.length / (n * c * pixels);
  const sums = new Float32Array(n * pieces * c * 2);
  for (const [i, value] of values.entries()) {
    const at = (Math.floor(i / (c * pixels)) * c + (i % c)) * 2;
    sums[at] = (sums[at] as number) + value;
    sums[at + 1] = (sums[at + 1] as number) + value * value;
  }
  return device.tensor(sums, [n, pieces, c, 2]);
}

async function forward(device: Device, args: Case) {
  const { placed, x, x2, tensors, silu, dropout, n, all } = setUp(device, args);
  const y = placed.empty([...args.front, all]);
  const stats = device.full([n, args.groups, 2], Number.NaN);
  const [sums, sums2] = [x, x2].map((input, i) =>
    args.pieces && input ? sumsOf(device, input, args.pieces[i] as number) : null,
  ) as [Tensor | null, Tensor | null];
  device.native.groupNorm(
    ...[tensors.x, tensors.x2, tensors.gamma, tensors.beta, tensors.scaleShift, sums, sums2, y, stats].map(handle),
    ...[args.groups, eps, silu, dropout, ...rng],
  );
  return { y: await read(y), stats: await read(stats) };
}

async function backward(device: Device, args: Case, accumulate: boolean) {
  const { placed, tensors, exact, silu, dropout, n, all } = setUp(device, args);
  const { stats } = groupNormBackward(exact, new Float64Array(exact.x.length));
  const dx = placed.empty(tensors.x.shape);
  const dx2 = tensors.x2 && placed.empty(tensors.x2.shape);
  const parameters = [1, 2].map(() => device.full([all], accumulate ? 1 : Number.NaN)) as [Tensor, Tensor];
  const dscaleShift = tensors.scaleShift && device.full([n, 2 * all], Number.NaN);
  device.native.groupNormBackward(
    ...[tensors.dy, tensors.x, tensors.x2, tensors.gamma, tensors.beta, tensors.scaleShift].map(handle),
    ...[device.tensor(Float32Array.from(stats), [n, args.groups, 2]), dx, dx2, ...parameters, dscaleShift].map(handle),
    ...[args.groups, silu, dropout, ...rng, accumulate],
  );
  const whole = async () => (dx2 ? concat(await read(dx), args.c, await read(dx2), args.c2 ?? 0) : read(dx));
  const [dgamma, dbeta] = await Promise.all(
    parameters.map(async (tensor) => (await read(tensor)).map((v) => v - (accumulate ? 1 : 0))),
  );
  return { dx: await whole(), dgamma, dbeta, dscaleShift: dscaleShift && (await read(dscaleShift)) };
}

const cases: Record<string, Case> = {
  'packs of 8': { front: [2, 5, 7], c: 64, groups: 32, silu: true },
  'several chunks and slabs': { front: [2, 9, 9], c: 264, groups: 8, silu: true, scaleShift: true },
  'one sample, one channel a group': { front: [1, 5, 7], c: 5, groups: 5 },
  'one group': { front: [2, 3, 5], c: 7, groups: 1, silu: true },
  'one group of many pixels': { front: [1, 33, 35], c: 8, groups: 1 },
  tokens: { front: [2, 9], c: 24, groups: 2 },
  'a pair of packs, its cut within a group': { front: [2, 3, 5], c: 16, c2: 8, groups: 2, silu: true, scaleShift: true },
  'a pair cut anywhere': { front: [2, 3, 5], c: 5, c2: 4, groups: 3, silu: true },
  dropout: { front: [3, 5, 3], c: 16, groups: 4, dropout: 0.3 },
  'dropout of odd channels': { front: [3, 5, 3], c: 6, groups: 2, dropout: 0.3, silu: true },
  'memory at odd elements': { front: [2, 3, 5], c: 16, c2: 8, groups: 3, silu: true, scaleShift: true, dropout: 0.2, shift: 1 },
  'a mean of thirty deviations': { front: [2, 8, 8], c: 16, groups: 2, mean: 30 },
};

const summed: Record<string, Case> = {
  'one tensor': { front: [2, 16, 8], c: 24, groups: 3, silu: true, pieces: [64, 0] },
  'a pair, its cut within a group': { front: [2, 8, 16], c: 12, c2: 20, groups: 4, pieces: [64, 64] },
  'pieces of two sizes': { front: [1, 8, 16], c: 8, c2: 24, groups: 2, silu: true, scaleShift: true, pieces: [64, 32] },
  'odd channels': { front: [3, 8, 8], c: 5, c2: 4, groups: 1, dropout: 0.2, pieces: [64, 64], shift: 1 },
  'a mean of thirty deviations': { front: [2, 16, 8], c: 16, groups: 2, mean: 30, pieces: [64, 0] },
};

eachDevice((id, open) => {
  const on = (name: string, body: (device: Device) => Promise<void>) =>
    test(`groupNorm in bf16 on ${id}: ${name}`, async (context) => {
      const device = await openForBf16(open, context);
      await body(device);
    });

  for (const [name, args] of Object.entries(cases))
    on(name, async (device) => {
      const { exact, dy } = setUp(device, args);
      const expected = groupNormBackward(exact, dy.values);
      const result = await forward(device, args);
      expect(relL2(result.stats, expected.stats), 'stats').toBeLessThan(1e-6);
      expect(relL2(result.y, expected.y), 'y').toBeLessThan(3e-3);
      expect(await forward(device, args), 'a second time').toEqual(result);
      for (const accumulate of [false, true]) {
        const gradients = await backward(device, args, accumulate);
        expect(relL2(gradients.dx, expected.dx), 'dx').toBeLessThan(3e-3);
        expect(relL2(gradients.dgamma as Float32Array, expected.dgamma), 'dgamma').toBeLessThan(1e-5);
        expect(relL2(gradients.dbeta as Float32Array, expected.dbeta), 'dbeta').toBeLessThan(1e-5);
        if (gradients.dscaleShift) expect(relL2(gradients.dscaleShift, expected.dscaleShift), 'dscaleShift').toBeLessThan(1e-5);
      }
      expect(await backward(device, args, false), 'gradients a second time').toEqual(await backward(device, args, false));
    });

  for (const [name, args] of Object.entries(summed))
    on(`from sums of ${name}`, async (device) => {
      const { pieces, ...plain } = args;
      const [without, with_] = [await forward(device, plain), await forward(device, args)];
      // Sums of 64 squares in f32 lose what the mean is larger than the deviation, squared.
      const lost = 1e-6 * (1 + (args.mean ?? 1) ** 2);
      expect(relL2(with_.stats, without.stats), 'stats').toBeLessThan(lost);
      expect(relL2(with_.y, without.y), 'y').toBeLessThan(2e-3);
      expect(await forward(device, args), 'a second time').toEqual(with_);
    });

  on('statistics are those of the sums, not of x', async (device) => {
    const x = device.zeros([1, 8, 8, 2], { dtype: 'bf16' });
    const [y, stats, ones] = [device.zeros([1, 8, 8, 2], { dtype: 'bf16' }), device.zeros([1, 1, 2]), device.full([2], 1)];
    const sums = device.tensor([64, 64 * 2, 128, 64 * 5], [1, 1, 2, 2]); // means 1 and 2, variances 1 and 1
    const handles = [x, null, ones, ones, null, sums, null, y, stats].map(handle);
    device.native.groupNorm(...handles, 1, 0, false, 0, ...rng);
    expect(relL2(await read(stats), [1.5, 1 / Math.sqrt(1.25)])).toBeLessThan(1e-6);
    expect(new Set(await read(y))).toEqual(new Set(toBf16([1 - 1.5 / Math.sqrt(1.25)])));
  });
});
