import { expect, test } from 'vitest';
import { backward } from '../../lib/autograd/backward.js';
import { Parameter } from '../../lib/autograd/parameter.js';
import type { Device } from '../../lib/device.js';
import { openDevice } from '../../lib/openDevice.js';
import * as ops from '../../lib/ops/index.js';
import type { Tensor } from '../../lib/tensor.js';
import { maxAbs, relL2 } from '../support/compare.js';
import { eachDevice, openForBf16 } from '../support/devices.js';
import * as reference from '../support/reference.js';
import { randomValues, toBf16, widen } from '../support/values.js';

const names = ['q', 'k', 'v', 'dy'] as const;
const results = ['y', 'dq', 'dk', 'dv'] as const;
type Values = Record<(typeof names)[number], Float32Array>;
type Results = Record<(typeof results)[number] | 'lse', Float32Array>;

interface Shape {
  n: number;
  l: number;
  heads: number;
  d: number;
}

/** Inputs that bf16 holds exactly. */
function draw({ n, l, heads, d }: Shape, factor = 1): Values {
  const one = (seed: number) => toBf16(randomValues(n * l * heads * d, seed).map((value) => value * factor));
  return { q: one(1), k: one(2), v: one(3), dy: one(4) };
}

/** Forward and backward, each tensor `shift` elements into its memory. */
async function run(device: Device, { n, l, heads, d }: Shape, values: Values, scale: number, shift = 0): Promise<Results> {
  const shape = [n, l, heads * d];
  const size = n * l * heads * d;
  const empty = () => ops.cast(device.full([size + shift], Number.NaN), 'bf16').alias(shape, shift);
  const [q, k, v, dy] = names.map((name) => {
    const padded = new Float32Array(size + shift);
    padded.set(values[name], shift);
    return ops.cast(device.tensor(padded, [size + shift]), 'bf16').alias(shape, shift).handle;
  }) as [number, number, number, number];
  const [y, dq, dk, dv] = results.map(empty) as [Tensor, Tensor, Tensor, Tensor];
  const lse = device.full([n, heads, l], Number.NaN);
  device.native.attention(q, k, v, y.handle, lse.handle, heads, scale);
  device.native.attentionBackward(dy, q, k, v, y.handle, lse.handle, dq.handle, dk.handle, dv.handle, heads, scale);
  const read = await Promise.all([y, dq, dk, dv, lse].map((tensor) => tensor.read() as Promise<Float32Array>));
  return Object.fromEntries(['y', 'dq', 'dk', 'dv', 'lse'].map((name, i) => [name, read[i]])) as unknown as Results;
}

function exactly({ n, l, heads }: Shape, { q, k, v, dy }: Values, scale: number) {
  const args = { q: widen(q), k: widen(k), v: widen(v), n, l, heads, scale };
  return reference.attentionBackward(args, widen(dy));
}

/** ln Σ_j exp(scale · q·k) [N, heads, L] */
function logSums({ n, l, heads, d }: Shape, { q, k }: Values, scale: number): Float64Array {
  const at = (sample: number, token: number, head: number) => ((sample * l + token) * heads + head) * d;
  return Float64Array.from({ length: n * heads * l }, (_, index) => {
    const [sample, head, i] = [Math.floor(index / (heads * l)), Math.floor(index / l) % heads, index % l];
    const scores = Array.from({ length: l }, (__, j) => {
      let sum = 0;
      for (let e = 0; e < d; e++) sum += (q[at(sample, i, head) + e] as number) * (k[at(sample, j, head) + e] as number);
      return scale * sum;
    });
    const largest = Math.max(...scores);
    return largest + Math.log(scores.reduce((sum, score) => sum + Math.exp(score - largest), 0));
  });
}

/** P, the scores' gradients and the results are rounded to 8 bits, each by 2^-9 at most and 2^-9/√3 on the average. */
const limit = 4e-3;

const cases: Shape[] = [
  { n: 3, l: 1, heads: 2, d: 16 },
  { n: 1, l: 5, heads: 1, d: 8 },
  { n: 3, l: 17, heads: 2, d: 16 },
  { n: 1, l: 16, heads: 4, d: 32 },
  { n: 1, l: 130, heads: 1, d: 32 },
  { n: 1, l: 65, heads: 2, d: 40 },
  { n: 3, l: 64, heads: 1, d: 64 },
  { n: 1, l: 130, heads: 1, d: 64 },
  { n: 1, l: 17, heads: 2, d: 20 },
  { n: 3, l: 5, heads: 4, d: 7 },
  { n: 1, l: 65, heads: 1, d: 7 },
  { n: 1, l: 37, heads: 1, d: 96 },
  { n: 1, l: 65, heads: 1, d: 128 },
  { n: 1, l: 33, heads: 1, d: 160 },
  { n: 1, l: 65, heads: 1, d: 256 },
  { n: 2, l: 17, heads: 1, d: 300 },
  { n: 3, l: 1, heads: 3, d: 5 },
  { n: 1, l: 131, heads: 3, d: 37 },
  { n: 1, l: 259, heads: 1, d: 9 }, // more than 2^16 scores
  { n: 1, l: 300, heads: 2, d: 20 },
];

eachDevice((id, open) => {
  const check = (shape: Shape, values: Values, scale: number, actual: Results) => {
    const expected = exactly(shape, values, scale);
    expect(maxAbs(actual.lse, logSums(shape, values, scale)), 'lse').toBeLessThan(1e-5);
    for (const name of results) {
      const zero = shape.l === 1 && (name === 'dq' || name === 'dk'); // one weight, always 1, has no gradient
      expect((zero ? maxAbs : relL2)(actual[name], expected[name]), name).toBeLessThan(limit);
    }
  };

  test.for(cases)(`attention in bf16 on ${id}: batch $n, $l tokens, $heads heads of $d`, async (shape, context) => {
    const device = await openForBf16(open, context);
    const values = draw(shape);
    const scale = 1 / Math.sqrt(shape.d);
    check(shape, values, scale, await run(device, shape, values, scale));
  });

  test(`attention in bf16 on ${id}: tensors that begin anywhere, bits that repeat, a negative scale`, async (context) => {
    const device = await openForBf16(open, context);
    const shape = { n: 1, l: 19, heads: 2, d: 24 };
    const values = draw(shape);
    const aligned = await run(device, shape, values, -0.3);
    check(shape, values, -0.3, aligned);
    expect(await run(device, shape, values, -0.3, 3)).toEqual(aligned);
    expect(await run(device, shape, values, -0.3)).toEqual(aligned);
  });

  test(`attention in bf16 on ${id}: a sample does not depend on the batch`, async (context) => {
    const device = await openForBf16(open, context);
    const shape = { n: 3, l: 20, heads: 2, d: 32 };
    const values = draw(shape);
    const all = await run(device, shape, values, 0.2);
    const last = (array: Float32Array) => array.slice((array.length / 3) * 2);
    const one = await run(device, { ...shape, n: 1 }, apply(values, last), 0.2);
    expect(one).toEqual(apply(all, last));
  });

  test(`attention in bf16 on ${id}: NaN stays with the queries, keys and samples that it touches`, async (context) => {
    const device = await openForBf16(open, context);
    const shape = { n: 2, l: 21, heads: 3, d: 7 };
    const values = draw(shape);
    const clean = await run(device, shape, values, 0.3);
    const [sample, token, head] = [0, 20, 2]; // the last token and channel of the first sample: what follows is the second's
    const at = ((sample * shape.l + token) * shape.heads + head) * shape.d + shape.d - 1;
    const q = Float32Array.from(values.q);
    q[at] = Number.NaN;
    const { y, lse } = await run(device, shape, { ...values, q }, 0.3);
    for (let i = 0; i < y.length; i++) {
      const row = Math.floor(i / shape.d) === Math.floor(at / shape.d);
      expect(y[i], `y[${i}]`).toBe(row ? Number.NaN : clean.y[i]);
    }
    expect(lse.filter(Number.isNaN).length).toBe(1);
  });

  test(`attention in bf16 on ${id}: scores far beyond the range of exp`, async (context) => {
    const device = await openForBf16(open, context);
    const shape = { n: 1, l: 67, heads: 1, d: 32 };
    const values = draw(shape, 64); // scores of some ±10^5: all but one weight of a row are zero
    const actual = await run(device, shape, values, 4);
    expect(relL2(actual.y, exactly(shape, values, 4).y)).toBeLessThan(limit);
    expect(relL2(actual.lse, logSums(shape, values, 4))).toBeLessThan(1e-6);
    for (const name of results) expect(actual[name].every(Number.isFinite), name).toBe(true);
  });

  test(`attention in bf16 on ${id}: through the tape`, async (context) => {
    const device = await openForBf16(open, context);
    const shape = { n: 2, l: 8, heads: 2, d: 16 }; // 2^9 elements: dy / 2^9 is exact
    const axes = [shape.n, shape.l, shape.heads * shape.d];
    const values = draw(shape);
    const [q, k, v] = (['q', 'k', 'v'] as const).map(
      (name) => new Parameter(name, axes, 'plain', device.tensor(values[name], axes), device.zeros(axes)),
    ) as [Parameter, Parameter, Parameter];
    const [queries, keys, weighted] = [q, k, v].map((one) => ops.cast(ops.scale(one, 1), 'bf16')) as [Tensor, Tensor, Tensor];
    const y = ops.attention(queries, keys, weighted, { heads: shape.heads });
    expect(y.dtype).toBe('bf16');
    backward(ops.mean(ops.mul(ops.cast(y, 'f32'), device.tensor(values.dy, axes))));
    const expected = exactly(shape, values, 1 / Math.sqrt(shape.d));
    for (const [parameter, name] of [
      [q, 'dq'],
      [k, 'dk'],
      [v, 'dv'],
    ] as const) {
      const gradient = (await parameter.grad.read()) as Float32Array;
      const whole = gradient.map((value) => value * y.size);
      expect(relL2(whole, expected[name]), name).toBeLessThan(limit);
    }
  });
});

test('attention in bf16 on cpu: the number of threads changes no bit', async (context) => {
  const shapes = [
    { n: 1, l: 150, heads: 2, d: 33 }, // a head for each of two threads; three share heads
    { n: 1, l: 70, heads: 3, d: 24 },
    { n: 1, l: 270, heads: 1, d: 40 },
  ];
  const all: Results[][] = [];
  for (const threads of [1, 2, 3, 8]) {
    const device = await openDevice('cpu', { threads });
    try {
      await openForBf16(async () => device, context);
      all.push(await Promise.all(shapes.map((shape) => run(device, shape, draw(shape), 0.2))));
    } finally {
      await device.close();
    }
  }
  for (const results of all) expect(results).toEqual(all[0]);
});

function apply<T extends Record<string, Float32Array>>(record: T, f: (array: Float32Array) => Float32Array): T {
  return Object.fromEntries(Object.entries(record).map(([name, array]) => [name, f(array)])) as T;
}
