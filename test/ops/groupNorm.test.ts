import { expect, test } from 'vitest';
import { backward } from '../../lib/autograd/backward.js';
import { Parameter } from '../../lib/autograd/parameter.js';
import { groupNorm } from '../../lib/ops/groupNorm.js';
import * as ops from '../../lib/ops/index.js';
import { eachDevice } from '../support/devices.js';
import { checkOperation, type Definition } from '../support/operation.js';
import { uniform, words } from '../support/philox.js';
import * as reference from '../support/reference.js';
import { sizeOf } from '../support/values.js';

interface Setting {
  front: number[];
  c: number;
  c2?: number;
  groups: number;
  eps?: number;
  silu?: boolean;
  scaleShift?: boolean;
  dropout?: number;
}

const seeds = { seed: 2 ** 40 + 5, stream: 3, step: 11, firstSample: 2 };

function definition({ front, c, c2 = 0, groups, eps = 1e-5, silu, scaleShift, dropout = 0 }: Setting): Definition<string> {
  const n = front[0] as number;
  const all = c + c2;
  const size = sizeOf(front) * all;
  const inputs: Record<string, number[]> = { x: [...front, c], gamma: [all], beta: [all] };
  if (c2) inputs.skip = [...front, c2];
  if (scaleShift) inputs.scaleShift = [n, 2 * all];
  const mask = new Float64Array(size).fill(1);
  if (dropout)
    for (let sample = 0; sample < n; sample++)
      words(seeds, sample, size / n).forEach((word, i) => {
        mask[(sample * size) / n + i] = uniform(word) < Math.fround(dropout) ? 0 : 1 / (1 - dropout);
      });
  return {
    inputs,
    shape: [...front, all],
    terms: Math.max(size / (n * groups), size / all) * 4, // a group's sums go through mean, variance and back
    prepare: { gamma: (value) => Math.fround(1 + 0.3 * value), x: (value) => Math.fround(2 * value + 1) },
    run: ({ x, gamma, beta, ...rest }) =>
      groupNorm(x as never, gamma as never, beta as never, {
        ...rest,
        groups,
        eps,
        silu,
        ...(dropout && { dropout, ...seeds }),
      }),
    reference: ({ x, skip, gamma, beta, scaleShift }) =>
      reference.groupNorm({
        x: skip ? reference.concat(x as Float64Array, c, skip, c2) : (x as Float64Array),
        n,
        c: all,
        groups,
        gamma: gamma as Float64Array,
        beta: beta as Float64Array,
        eps,
        scaleShift,
        silu,
        mask,
      }),
  };
}

eachDevice((id, open) => {
  test.each<[string, Setting]>([
    ['groups of two channels', { front: [3, 5, 7], c: 6, groups: 3 }],
    ['one channel a group, one sample', { front: [1, 5, 7], c: 5, groups: 5 }],
    ['one group', { front: [2, 3, 5], c: 7, groups: 1 }],
    ['tokens', { front: [2, 9], c: 6, groups: 2, eps: 1e-6 }],
    ['no pixels', { front: [3], c: 12, groups: 2 }],
    ['a large eps', { front: [2, 3, 3], c: 4, groups: 2, eps: 0.5 }],
    ['SiLU', { front: [2, 5, 3], c: 6, groups: 2, silu: true }],
    ['scale and shift', { front: [2, 5, 3], c: 6, groups: 3, scaleShift: true }],
    ['groups that straddle two inputs', { front: [2, 3, 5], c: 5, c2: 4, groups: 3 }],
    ['groups of two of 64 channels', { front: [2, 3, 5], c: 64, groups: 32, silu: true, scaleShift: true }],
    ['24 and 16 channels in 8 groups', { front: [2, 3, 3], c: 24, c2: 16, groups: 8, silu: true }],
    ['dropout', { front: [3, 5, 3], c: 6, groups: 2, dropout: 0.3 }],
    ['everything', { front: [2, 3, 5], c: 5, c2: 4, groups: 3, silu: true, scaleShift: true, dropout: 0.2 }],
  ])(`groupNorm on ${id}: %s`, async (_, setting) => {
    await checkOperation(await open(), definition(setting));
  });

  test(`groupNorm on ${id}: a mean far from zero costs no precision beyond that of the input`, async () => {
    const device = await open();
    const x = (await device.randn([2, 8, 8, 4], { seed: 1 }).read()).map((value) => Math.fround(1000 + value));
    const options = { x, n: 2, c: 4, groups: 2, gamma: [1, 1, 1, 1], beta: [0, 0, 0, 0], eps: 1e-5 };
    const y = await groupNorm(device.tensor(x, [2, 8, 8, 4]), device.full([4], 1), device.zeros([4]), { groups: 2 }).read();
    const expected = reference.groupNorm(options);
    // The mean as a float32 is off by half a unit in the last place of 1000: 2^-15.
    for (const [i, value] of y.entries()) expect(Math.abs(value - (expected[i] as number))).toBeLessThan(2 * 2 ** -15);
  });

  test(`groupNorm on ${id}: without a seed, forward and backward drop the same elements, the next call others`, async () => {
    const device = await open();
    const shape = [2, 5, 5, 8];
    const make = (name: string, axes: number[], value: number) =>
      new Parameter(name, axes, 'plain', device.full(axes, value), device.zeros(axes));
    const x = new Parameter('x', shape, 'plain', device.randn(shape, { seed: 4 }), device.zeros(shape));
    const gamma = make('gamma', [8], 0);
    const beta = make('beta', [8], 1);
    const scaleShift = make('scaleShift', [2, 16], 0);
    const run = () => groupNorm(x, gamma, beta, { groups: 4, dropout: 0.5, scaleShift });
    const y = run();
    const kept = (await y.read()).map((value) => (value === 0 ? 0 : 1));
    expect(await run().read()).not.toEqual(await y.read());
    backward(ops.mean(y));
    // z = beta = 1 everywhere: d/dshift[n, c] is the number of elements kept there, times 2/size.
    const counts = new Float64Array(32);
    for (const [i, one] of kept.entries()) {
      const place = Math.floor(i / 200) * 16 + 8 + (i % 8);
      counts[place] = (counts[place] as number) + one;
    }
    const gradient = await scaleShift.grad.read();
    for (const sample of [0, 1])
      for (let c = 8; c < 16; c++)
        expect((gradient[sample * 16 + c] as number) * 200).toBeCloseTo(counts[sample * 16 + c] as number, 4);
  });
});
