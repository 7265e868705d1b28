import { Matrix } from 'ml-matrix';
import { describe, expect, test } from 'vitest';
import { chartSvg } from '../../bench/figures/chart.js';
import { type Curve, claimOfFewSteps, claimOfFixedVariances, claimOfLastFifth } from '../../bench/figures/claims.js';
import { FrechetReference, momentsOf, whitening } from '../../bench/figures/frechet.js';
import { difference, jackknife } from '../../bench/figures/jackknife.js';

describe('the Fréchet distance', () => {
  const rows = Float32Array.from({ length: 200 * 3 }, (_, i) => Math.sin(1.7 * i) + (i % 3) * Math.cos(0.9 * i));

  test('of a set to itself is 0', () => {
    const moments = momentsOf(rows, 3);
    expect(new FrechetReference(moments).distance(moments)).toBeCloseTo(0, 9);
  });

  test('between Gaussians of independent values is |Δμ|² + Σ (σ₁ − σ₂)²', () => {
    const a = { mean: [1, -2, 0.5], covariance: Matrix.diag([4, 9, 0.25]) };
    const b = { mean: [0, 1, 0.5], covariance: Matrix.diag([1, 16, 0]) };
    expect(new FrechetReference(a).distance(b)).toBeCloseTo(1 + 9 + 1 + 1 + 0.25, 9);
    expect(new FrechetReference(b).distance(a)).toBeCloseTo(1 + 9 + 1 + 1 + 0.25, 9);
  });

  test('between Gaussians whose covariances do not commute', () => {
    const [a, b] = [new Matrix([[3, 1], [1, 2]]), new Matrix([[1, -0.7], [-0.7, 4]])]; // biome-ignore format: as it is written
    // tr (ab)^½ = √(tr ab + 2·√det ab) in two dimensions
    const cross = Math.sqrt(a.mmul(b).trace() + 2 * Math.sqrt(5 * 3.51));
    const expected = 0.25 + a.trace() + b.trace() - 2 * cross;
    const distance = new FrechetReference({ mean: [0, 0], covariance: a }).distance({ mean: [0.5, 0], covariance: b });
    expect(distance).toBeCloseTo(expected, 9);
  });

  test('takes mean and unbiased covariance of the rows that count', () => {
    const { mean, covariance } = momentsOf(Float32Array.of(1, 2, 100, 100, 3, 8, 5, 2), 2, (row) => row !== 1);
    expect(mean).toEqual([3, 4]);
    expect(covariance.to2DArray()).toEqual([
      [4, 0],
      [0, 12],
    ]);
  });
});

test('whitened features have covariance 1, and distances that do not depend on a linear map of the features', () => {
  const rows = Float32Array.from({ length: 300 * 2 }, (_, i) => Math.sin(3.1 * i) + (i % 2) * Math.cos(i * i));
  const mixed = rows.map((value, i) => (i % 2 ? 7 * value + 2 * (rows[i - 1] as number) : 0.3 * value));
  const [own, ofMixed] = [rows, mixed].map((all) => {
    const whiten = whitening(momentsOf(all, 2));
    const reference = momentsOf(whiten(all), 2);
    expect(Matrix.sub(reference.covariance, Matrix.eye(2)).abs().max()).toBeLessThan(1e-5);
    return new FrechetReference(reference).distance(momentsOf(whiten(all.subarray(0, 80)), 2));
  });
  expect(own).toBeGreaterThan(1e-3);
  expect(ofMixed).toBeCloseTo(own as number, 5);
});

describe('the jackknife', () => {
  const values = [3, 5, 4, 8, 1, 9, 2, 6];
  const mean = (list: number[]) => list.reduce((sum, value) => sum + value, 0) / list.length;

  test("of a mean gives the mean's standard error", async () => {
    const { value, error } = await jackknife(8, (out) => mean(values.filter((_, i) => i !== out)));
    const squares = values.reduce((sum, one) => sum + (one - value) ** 2, 0);
    expect(value).toBe(mean(values));
    expect(error).toBeCloseTo(Math.sqrt(squares / 7 / 8), 12);
  });

  test('of a difference takes what both have in common out', async () => {
    const a = await jackknife(8, (out) => mean(values.filter((_, i) => i !== out)));
    const b = await jackknife(8, (out) => 2 + mean(values.filter((_, i) => i !== out)));
    expect(difference(b, a)).toMatchObject({ value: expect.closeTo(2, 12), error: expect.closeTo(0, 12) });
  });
});

/** A curve of these distances, each with an error of its own. */
const curve = (name: string, values: Record<number, number>, error = 0.01): Curve => ({
  name,
  points: Object.entries(values).map(([x, value], i) => {
    const without = [value - error * (i + 1), value + error * (i + 1)];
    return { x: Number(x), quality: { sliced: { value, error, without } } };
  }),
});

describe('the claims', () => {
  test('of the last fifth of the noise', () => {
    const holds = (linear: number, cosine: number) =>
      claimOfLastFifth([curve('linear', { 0: 1, 0.2: linear }), curve('cosine', { 0: 1, 0.2: cosine })], 0.2).holds;
    expect(holds(1.05, 1.5)).toBe(true);
    expect(holds(1.2, 1.5)).toBe(false); // linear loses more than a tenth
    expect(holds(1.05, 1.001)).toBe(false); // cosine loses nothing
  });

  test('of few steps', () => {
    const holds = (few: number) => claimOfFewSteps([curve('learned', { 100: few, 1000: 1 })], 100, 1000).holds;
    expect(holds(1.05)).toBe(true);
    expect(holds(1.5)).toBe(false);
  });

  test('of fixed variances', () => {
    const holds = (...fixed: number[]) => {
      const curves = fixed.map((few, i) => curve(`fixed ${i}`, { 5: few, 1000: 1 }));
      return claimOfFixedVariances([curve('learned', { 5: 1.1, 1000: 1 }), ...curves], 5, 1000).holds;
    };
    expect(holds(1.5, 2)).toBe(true);
    expect(holds(1.11, 2)).toBe(true); // of the same noise: the errors are equal, and not of the difference
    expect(holds(1.1, 2)).toBe(false);
    expect(holds(1.5, 1.05)).toBe(false);
  });
});

test('a chart holds every point, its error bar and the names', () => {
  const points = [0, 1, 2].map((x) => ({ x, y: 2 + x, error: 0.5 }));
  const given = { title: 'A title', subtitle: 'and more', x: { name: 'across' }, y: { name: 'up' } };
  const svg = chartSvg({ ...given, curves: [{ name: 'one', points }], floor: { name: 'ground', value: 1.5 } });
  for (const text of ['A title', 'and more', 'across', 'up', 'one', 'ground']) expect(svg).toContain(`>${text}<`);
  const bars = svg.match(/stroke-width="1.5"/g) ?? [];
  expect(bars).toHaveLength(3 * points.length);
});
