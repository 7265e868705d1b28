import sharp from 'sharp';
import { expect, test } from 'vitest';
import { lossChart } from '../../lib/recording/chart.js';
import { LossCurve } from '../../lib/recording/lossCurve.js';

test('few steps are kept as they are; what is not finite leaves a gap', () => {
  const curve = new LossCurve();
  [0.9, Number.NaN, 0.5, null, 0.25].forEach((loss, i) => {
    curve.add(i + 1, loss);
  });
  expect(curve.last).toBe(5);
  expect(curve.points()).toEqual([
    { step: 1, mean: 0.9, low: 0.9, high: 0.9 },
    { step: 3, mean: 0.5, low: 0.5, high: 0.5 },
    { step: 5, mean: 0.25, low: 0.25, high: 0.25 },
  ]);
});

test('many steps become means over stretches of equal length', () => {
  const curve = new LossCurve();
  const loss = (step: number) => 1 + Math.sin(step);
  const count = 5000; // stretches of 16
  for (let step = 1; step <= count; step++) curve.add(step, loss(step));
  const points = curve.points();
  expect(points).toHaveLength(Math.ceil(count / 16));
  const third = Array.from({ length: 16 }, (_, i) => loss(33 + i));
  expect(points[2]?.mean).toBeCloseTo(third.reduce((sum, value) => sum + value, 0) / 16, 12);
  expect(points[2]).toMatchObject({ step: 40.5, low: Math.min(...third), high: Math.max(...third) });
});

test('a run that goes on far beyond its beginning keeps both', () => {
  const curve = new LossCurve();
  curve.add(1, 2);
  curve.add(1_000_000, 4);
  expect(curve.points().map(({ step, mean }) => [step, mean])).toEqual([
    [1, 2],
    [1_000_000, 4],
  ]);
});

const curveOf = (...losses: number[]) => {
  const curve = new LossCurve();
  losses.forEach((loss, i) => {
    curve.add(i + 1, loss);
  });
  return lossChart(curve.points(), curve.last);
};
const verticals = (svg: string) => {
  const [, points = ''] = /<polyline points="([^"]*)"/.exec(svg) ?? [];
  return points.split(' ').map((point) => Number(point.split(',')[1]));
};
const labels = (svg: string) => [...svg.matchAll(/text-anchor="end">([^<]*)</g)].map(([, label]) => Number(label));

test('a wide range of losses is drawn on a logarithmic axis, a narrow one on a linear one', () => {
  const wide = curveOf(1, 0.1, 0.01);
  const [a = 0, b = 0, c = 0] = verticals(wide);
  expect(b - a).toBeCloseTo(c - b, 0); // downwards in pixels, equal factors alike
  expect(b - a).toBeGreaterThan(100);
  expect(labels(wide)).toEqual([0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1]);
  const narrow = curveOf(0.5, 0.4, 0.2);
  const [d = 0, e = 0, f = 0] = verticals(narrow);
  expect(f - e).toBeCloseTo(2 * (e - d), 0);
  expect(labels(narrow)).toEqual([0.2, 0.3, 0.4, 0.5]);
});

test.each([[[]], [[0.3]], [[0.3, 0.3, 0.3]], [[0, 0]], [[1e-9, 1e9]], [[0, 1e-3, 5]]])(
  'losses %j give a picture',
  async (losses) => {
    const svg = curveOf(...losses);
    expect(svg).not.toMatch(/NaN|Infinity|undefined/);
    const { data, info } = await sharp(Buffer.from(svg)).raw().toBuffer({ resolveWithObject: true });
    expect([info.width, info.height]).toEqual([960, 540]);
    expect(data.some((value) => value < 255)).toBe(true);
  },
);
