import { expect, test } from 'vitest';
import type { VarianceKind } from '../../lib/diffusion/tables.js';
import { measureBound, modelVariance, variationalBound } from '../../lib/diffusion/variationalBound.js';
import { asTensor } from '../../lib/ops/check.js';
import { maxAbs, maxRelative } from '../support/compare.js';
import { eachDevice } from '../support/devices.js';
import { checkOperation } from '../support/operation.js';
import { eps32, randomValues, sizeOf } from '../support/values.js';

type Nine = [number, number, number, number, number, number, number, number, number];

/** px, pm, ex, e0, c1, c2, lq, lmin, lmax at t = 0, 1, 2. */
const rows: Nine[] = [
  [1.05, -0.2, 3, -2.8, 1, 0, -1.2, -1, -0.5],
  [1.2, -0.5, 1.4, -0.9, 0.3, 0.69, -3, -3.1, -2],
  [1.5, -0.9, 1.1, -0.6, 0.1, 0.88, -1.5, -1.5, -1.2],
];
const at = (values: ArrayLike<number>, i: number) => values[i] as number;
/** ½(1 + tanh(√(2/π)(x + 0.044715 x³))), precise in its lower tail. */
const cdf = (x: number) => 1 / (1 + Math.exp(-2 * Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
const clamp = (p: number) => Math.max(p, 1e-12);

/** −log of the probability of a byte, as improved-diffusion's discretized_gaussian_log_likelihood defines it. */
function likelihood(x: number, mean: number, logVariance: number): number {
  const scale = Math.exp(-logVariance / 2);
  const [above, below] = [scale * (x - mean + 1 / 255), scale * (x - mean - 1 / 255)];
  const inner = below > 0 ? cdf(-below) - cdf(-above) : cdf(above) - cdf(below);
  return -Math.log(clamp(x < -0.999 ? cdf(above) : x > 0.999 ? cdf(-below) : inner));
}

interface Case {
  shape: number[];
  variance: VarianceKind;
  clip?: number;
  doubled?: boolean;
}

const cases: Case[] = [
  { shape: [3, 7, 5, 3], variance: 'learnedRange' },
  { shape: [3, 7, 5, 3], variance: 'learnedRange', clip: 1 },
  { shape: [3, 2, 3, 4], variance: 'learned' },
  { shape: [3, 4, 2, 8], variance: 'fixed', clip: 0.7 },
  { shape: [3, 5, 3], variance: 'fixed', doubled: true },
  { shape: [1, 1, 1, 1], variance: 'learned' },
  { shape: [5, 1, 1, 5], variance: 'learnedRange' },
  { shape: [3, 35], variance: 'fixed' },
];

function prepare({ shape, variance, clip = 0, doubled = false }: Case) {
  const [n, c] = [shape[0] as number, shape.at(-1) as number];
  const [size, per] = [sizeOf(shape), sizeOf(shape) / n];
  const factor = doubled || variance !== 'fixed' ? 2 : 1;
  const steps = Int32Array.from({ length: n }, (_, i) => i % 3);
  const bytes = Array.from({ length: size }, (_, i) => [0, 255, 128, 17, 200][(i * 7) % 5] as number);
  const x0 = Float32Array.from(bytes, (byte) => byte / 127.5 - 1);
  const xt = Float32Array.from(randomValues(size, 3), (z, i) => 0.8 * at(x0, i) + 0.4 * z);
  const noise = randomValues(size, 4);
  /** vb, x_0 and ε errors in float64 of an output. */
  const reference = (output: ArrayLike<number>) => {
    const terms = [0, 1, 2].map(() => new Float64Array(n)) as [Float64Array, Float64Array, Float64Array];
    for (let i = 0; i < size; i++) {
      const sample = Math.floor(i / per);
      const [px, pm, ex, e0, c1, c2, lq, low, high] = (rows[at(steps, sample)] as Nine).map(Math.fround) as Nine;
      const place = factor === 1 ? i : i + c * Math.floor(i / c);
      const free = px * at(xt, i) + pm * at(output, place);
      const start = clip > 0 ? Math.min(clip, Math.max(-clip, free)) : free;
      const v = at(output, place + c);
      const lp = variance === 'fixed' ? low : variance === 'learned' ? v : low + ((v + 1) / 2) * (high - low);
      const [p, q] = [c1 * start + c2 * at(xt, i), c1 * at(x0, i) + c2 * at(xt, i)];
      const divergence = 0.5 * (-1 + lp - lq + Math.exp(lq - lp) + (p - q) ** 2 * Math.exp(-lp));
      const term = at(steps, sample) === 0 ? likelihood(at(x0, i), p, lp) : divergence;
      terms[0][sample] = at(terms[0], sample) + term / Math.LN2 / per;
      terms[1][sample] = at(terms[1], sample) + (start - at(x0, i)) ** 2 / per;
      terms[2][sample] = at(terms[2], sample) + (ex * at(xt, i) + e0 * start - at(noise, i)) ** 2 / per;
    }
    return terms;
  };
  return { n, c, size, per, factor, steps, x0, xt, noise, clip, reference, wide: [...shape.slice(0, -1), factor * c] };
}

/** An output near what predicts x_0, and logarithms of variances near those of the table. */
const scaled = (variance: VarianceKind) => (z: number) => 0.4 * z - (variance === 'learned' ? 1 : 0);

eachDevice((id, open) => {
  test.each(cases)(`variationalBound on ${id}: $shape, $variance, clip $clip: values, errors, and gradients`, async (given) => {
    const device = await open();
    const { steps, x0, xt, noise, clip, reference, wide, n } = prepare(given);
    const tensor = (values: Float32Array) => device.tensor(values, given.shape);
    const table = device.tensor(rows.flat(), [3, 9]);
    const fixed = { x0: tensor(x0), xt: tensor(xt), t: device.tensor(steps, [n]), table, clip, variance: given.variance };
    const values = randomValues(sizeOf(wide), 1).map(scaled(given.variance));
    const terms = { vb: device.empty([n], 'f32'), xStartMse: device.empty([n], 'f32'), mse: device.empty([n], 'f32') };
    measureBound(device.tensor(values, wide), { ...fixed, noise: tensor(noise) }, terms);
    const { vb, xStartMse, mse } = terms;
    const [bound, starts, errors] = reference(values);
    expect(maxRelative(await vb.read(), bound)).toBeLessThan(8 * eps32);
    expect(maxRelative(await xStartMse.read(), starts)).toBeLessThan(8 * eps32);
    expect(maxRelative(await mse.read(), errors)).toBeLessThan(8 * eps32);
    await checkOperation(device, {
      inputs: { output: wide },
      shape: [n],
      terms: 16,
      prepare: { output: scaled(given.variance) },
      run: ({ output }) => variationalBound(asTensor('test', 'output', output), fixed),
      reference: ({ output }) => reference(output)[0],
    });
  });

  test(`variationalBound on ${id}: with detachMean only the variance channels get a gradient, the same`, async () => {
    const device = await open();
    const { steps, x0, xt, wide, n, c } = prepare(cases[0] as Case);
    const tensor = (values: Float32Array) => device.tensor(values, [3, 7, 5, 3]).handle;
    const output = device.tensor(randomValues(sizeOf(wide), 1), wide);
    const operands = [tensor(x0), tensor(xt), device.tensor(steps, [n]).handle, device.tensor(rows.flat(), [3, 9]).handle];
    const [all, detached] = [false, true].map((detach) => {
      const gradient = device.empty(wide, 'f32');
      const handles = [output.handle, ...operands, device.tensor([1, -2, 0.5], [3]).handle, gradient.handle];
      device.native.variationalBoundBackward(...handles, 0, 2, detach);
      return gradient.read();
    });
    const expected = ((await all) as Float32Array).map((value, i) => (i % (2 * c) < c ? 0 : value));
    expect(expected.some((value) => value !== 0)).toBe(true);
    expect(maxAbs((await detached) as Float32Array, expected)).toBe(0);
  });

  test(`variationalBound on ${id}: q = p costs nothing, and improbable bytes 1e-12`, async () => {
    const device = await open();
    const same: Nine = [0, 1, 0, 0, 0.5, 0.5, -2, -2, -1];
    const sharp: Nine = [0, 1, 0, 0, 1, 0, -2, -30, -1];
    const x0 = device.tensor([0.25, -0.5, 1, -1], [2, 2]);
    const output = device.tensor([-0.9, 0.9, 1, -1], [2, 2]);
    const table = device.tensor([...sharp, ...same], [2, 9]);
    const t = device.tensor(Int32Array.of(0, 1), [2]);
    const vb = await variationalBound(output, { x0, xt: x0, t, table, clip: 0, variance: 'fixed' }).read();
    expect(at(vb, 0)).toBeCloseTo(-Math.log2(1e-12), 4);
    expect(at(vb, 1)).toBe(0);
  });

  test.each([
    [3, 7, 5, 3],
    [2, 3, 4],
    [2, 1, 1],
  ])(`modelVariance on ${id}: [%i, %i, %i, %i]`, async (...axes) => {
    const device = await open();
    const shape = axes.filter((axis) => axis !== undefined);
    const c = shape.at(-1) as number;
    const values = randomValues(2 * sizeOf(shape), 5);
    const output = device.tensor(values, [...shape.slice(0, -1), 2 * c]);
    const steps = Int32Array.from({ length: shape[0] as number }, (_, i) => (i + 1) % 2);
    const table = [-4, -1, -3, -2.5];
    for (const kind of ['learned', 'learnedRange'] as const) {
      const inputs = [device.tensor(steps, [steps.length]), device.tensor(table, [2, 2])] as const;
      const { variance, logVariance } = modelVariance(output, ...inputs, kind);
      expect(variance.shape).toEqual(shape);
      const expected = Array.from({ length: sizeOf(shape) }, (_, i) => {
        const v = at(values, i + c * Math.floor(i / c) + c);
        const row = 2 * at(steps, Math.floor(i / (sizeOf(shape) / steps.length)));
        return kind === 'learned' ? v : at(table, row) + ((v + 1) / 2) * (at(table, row + 1) - at(table, row));
      });
      expect(maxAbs(await logVariance.read(), expected)).toBeLessThan(16 * eps32);
      expect(maxRelative(await variance.read(), expected.map(Math.exp))).toBeLessThan(32 * eps32);
    }
  });
});
