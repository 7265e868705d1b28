import { expect, test } from 'vitest';
import { reverseStep } from '../../lib/diffusion/kernels.js';
import type { VarianceKind } from '../../lib/diffusion/tables.js';
import { noRng, toRng } from '../../lib/random.js';
import { maxAbs } from '../support/compare.js';
import { eachDevice } from '../support/devices.js';
import { normals } from '../support/philox.js';
import { eps32, randomValues, sizeOf } from '../support/values.js';

const source = { seed: 99, stream: 16, step: 2, firstSample: 1 };

/** Of a sum of a few products, each of the size of the largest or of some units. */
const limit = (values: readonly number[]) => 16 * eps32 * values.reduce((most, value) => Math.max(most, Math.abs(value)), 1);

interface Case {
  shape: number[];
  clip?: number;
  bound?: boolean;
  history?: boolean;
  given?: boolean;
  guidance?: number;
  variance?: VarianceKind;
  doubled?: boolean;
}

const cases: Case[] = [
  { shape: [5, 3, 7, 2], given: true, history: true },
  { shape: [5, 3, 7, 2], clip: 0.8, given: true, history: true },
  { shape: [5, 3, 7, 2], clip: 1 },
  { shape: [3, 35] },
  { shape: [1, 7, 5, 3], clip: 1, variance: 'learned' },
  { shape: [3, 7, 5, 3], clip: 1, variance: 'learnedRange', history: true },
  { shape: [2, 4, 4, 8], clip: 1, variance: 'learnedRange', given: true },
  { shape: [2, 1, 1, 1], variance: 'learnedRange' },
  { shape: [3, 5, 1], variance: 'learned' },
  { shape: [2, 3, 5, 3], doubled: true, guidance: 3 },
  { shape: [3, 7, 5, 3], clip: 1, guidance: 2.5 },
  { shape: [2, 7, 5, 5], variance: 'learnedRange', guidance: 0.5, history: true },
  { shape: [3, 7, 5, 3], bound: true },
  { shape: [2, 2, 3, 4], bound: true, variance: 'learned', guidance: 1.5, clip: 0.1 },
  { shape: [2, 41, 43, 3], variance: 'learnedRange', clip: 1, guidance: 2 },
];

eachDevice((id, open) => {
  test.each(cases)(
    `reverseStep on ${id}: $shape, $variance, doubled $doubled, clip $clip, bound $bound, guidance $guidance, history $history, noise given $given`,
    async (given) => {
      const device = await open();
      const { shape, clip = 0, guidance, variance = 'fixed', history = false } = given;
      const [n, c] = [shape[0] as number, shape.at(-1) as number];
      const [size, per] = [sizeOf(shape), sizeOf(shape.slice(1))];
      const factor = given.doubled || variance !== 'fixed' ? 2 : 1;
      const wide = [...shape.slice(0, -1), factor * c];
      const [output, free] = [randomValues(factor * size, 5), randomValues(factor * size, 10)];
      const [x, older, oldest] = [6, 7, 8].map((seed) => randomValues(size, seed)) as [Float32Array, Float32Array, Float32Array];
      const drawn = Array.from({ length: n }, (_, sample) => [...normals(source, sample, per)]).flat();
      const noise = given.given ? randomValues(size, 9) : Float32Array.from(drawn);
      const steps = Int32Array.from({ length: n }, (_, i) => (2 * i + 2) % 3);
      const bounds = Float32Array.from({ length: n }, (_, i) => 0.7 + 0.4 * i);
      const memory = history ? [0.2, -0.1] : [0, 0];
      const rows = [0, 1, 2].map((k) => [
        1.1,
        -0.3 * k,
        0.7,
        -0.6,
        0.5,
        0.4,
        ...memory,
        0.3 * (k % 2),
        0.15 * k,
        0.25 * k,
        -4,
        -1,
      ]);
      const tensor = (values: Float32Array, of: number[] = shape) => device.tensor(values, of);
      const { sample, predXStart } = reverseStep({
        output: tensor(output, wide),
        ...(guidance !== undefined && { unconditional: tensor(free, wide), guidance }),
        xt: tensor(x),
        ...(history && { predXStart1: tensor(older), predXStart2: tensor(oldest) }),
        t: device.tensor(steps, [n]),
        table: device.tensor(rows.flat(), [3, 13]),
        clip,
        bound: given.bound ? tensor(bounds, [n]) : null,
        variance,
        noise: given.given ? tensor(noise) : null,
        rng: given.given ? noRng : toRng('test', device, source),
      });

      const at = (values: ArrayLike<number>, i: number) => values[i] as number;
      const wanted = Array.from(x, (value, i) => {
        const sample = Math.floor(i / per);
        const row = (rows[at(steps, sample)] as number[]).map(Math.fround) as Row;
        const [px, pm, ex, e0, a, b, c1, c2, f, g, d, low, high] = row;
        const place = factor === 1 ? i : i + c * Math.floor(i / c);
        const m = guidance === undefined ? at(output, place) : at(free, place) + guidance * (at(output, place) - at(free, place));
        const bound = given.bound ? at(bounds, sample) : clip > 0 ? clip : Number.POSITIVE_INFINITY;
        const x0 = Math.min(bound, Math.max(-bound, px * value + pm * m)) / (given.bound ? bound : 1);
        const v = at(output, place + c);
        const logarithm = variance === 'fixed' ? 0 : variance === 'learned' ? v : low + ((v + 1) / 2) * (high - low);
        const moved = c1 * at(older, i) + c2 * at(oldest, i) + f * (ex * value + e0 * x0) + g * m;
        return { x0, y: a * value + b * x0 + moved + d * Math.exp(logarithm / 2) * at(noise, i) };
      });
      const starts = wanted.map(({ x0 }) => x0);
      const samples = wanted.map(({ y }) => y);
      expect(maxAbs(await predXStart.read(), starts)).toBeLessThan(limit(starts));
      expect(maxAbs(await sample.read(), samples)).toBeLessThan(limit(samples));
    },
  );

  test(`reverseStep on ${id}: in place, and over the x_0 of an earlier step`, async () => {
    const device = await open();
    const shape = [2, 3, 5, 3];
    const random = (seed: number, of = shape) => device.tensor(randomValues(sizeOf(of), seed), of);
    const row = [1.1, -0.3, 0.7, -0.6, 0.5, 0.4, 0.2, -0.1, 0.3, 0.1, 0.5, -4, -1];
    const t = device.zeros([2], { dtype: 'i32' });
    const inputs = {
      output: random(1, [2, 3, 5, 6]),
      t,
      table: device.tensor(row, [1, 13]),
      clip: 1,
      noise: random(2),
      rng: noRng,
    };
    const apart = reverseStep({
      ...inputs,
      xt: random(3),
      predXStart1: random(4),
      predXStart2: random(5),
      variance: 'learnedRange',
    });
    const [x, older, oldest] = [random(3), random(4), random(5)];
    const operands = [inputs.output, null, x, older, oldest, t, inputs.table, null, inputs.noise, x, oldest];
    device.native.reverseStep(...operands.map((tensor) => tensor?.handle ?? 0), 1, 1, 2, ...noRng.fields);
    expect(await x.read()).toEqual(await apart.sample.read());
    expect(await oldest.read()).toEqual(await apart.predXStart.read());
  });

  test(`reverseStep on ${id} refuses outputs of other channels, and a learned variance without any`, async () => {
    const device = await open();
    const make = (...shape: number[]) => device.zeros(shape);
    const inputs = {
      xt: make(2, 3, 2),
      t: device.zeros([2], { dtype: 'i32' }),
      table: make(1, 13),
      clip: 0,
      noise: null,
      rng: noRng,
    };
    expect(() => reverseStep({ ...inputs, output: make(2, 3, 3) })).toThrow(/channels/);
    expect(() => reverseStep({ ...inputs, output: make(2, 6, 2) })).toThrow(/channels/);
    expect(() => reverseStep({ ...inputs, output: make(2, 3, 2), variance: 'learned' })).toThrow(/channels/);
    expect(() => reverseStep({ ...inputs, output: make(2, 3, 2), bound: make(3) })).toThrow(/bound/);
    expect(() => reverseStep({ ...inputs, output: make(2, 3, 2), table: make(1, 10) })).toThrow(/table/);
  });
});

type Row = [number, number, number, number, number, number, number, number, number, number, number, number, number];
