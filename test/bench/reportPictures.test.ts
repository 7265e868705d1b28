import { describe, expect, it } from 'vitest';
import { linesOf as lines } from '../../bench/report/batches.js';
import { breakdown } from '../../bench/report/breakdown.js';
import { latency } from '../../bench/report/latency.js';
import { ratios } from '../../bench/report/ratios.js';
import { roofline } from '../../bench/report/roofline.js';
import { engineColours, ink } from '../../bench/report/theme.js';
import { throughput } from '../../bench/report/throughput.js';
import type { Side, Work } from '../../bench/result.js';
import { drawn, measured, resultWith } from '../support/benchResult.js';
import { hinted, linesOf, type Shape, scaleOf, textAt, texts } from '../support/svg.js';
import { measurement } from './results.js';

const conv = 'conv 3×3, 32², 128 → 128, forward';
const near = (a: number, b: number, what: string) => expect(Math.abs(a - b), `${what}: ${a}, expected ${b}`).toBeLessThan(1);

describe('the roofline', async () => {
  const result = await resultWith();
  const svg = await drawn(roofline, result, 'roofline-bf16');
  const x = scaleOf(svg, 'x', ['10', 10], ['1,000', 1000]).logarithmic;
  const y = scaleOf(svg, 'y', ['100 T', 1e14], ['1 P', 1e15]).logarithmic;
  const { work, sides } = measured(result, conv, 'bf16') as { work: Work; sides: Record<string, Side> };

  it.each(['ours', 'torch compiled', 'torch eager'])('puts the kernel of %s at its FLOPs for a byte and a second', (engine) => {
    const [point, ...others] = hinted(svg, `${engine}: ${conv}\n`) as [Shape];
    expect(others).toEqual([]);
    near(point.x, x(work.flops / work.bytes), 'FLOP for a byte');
    near(point.y, y(work.flops / (sides[engine] as Side).seconds.median), 'FLOP/s');
  });

  it('draws areas in proportion to times, whatever the shape', () => {
    const area = (engine: string, unit: number) => unit * (hinted(svg, `${engine}: ${conv}\n`)[0] as Shape).scale ** 2;
    const seconds = (engine: string) => (sides[engine] as Side).seconds.median;
    const disc = area('ours', Math.PI) / seconds('ours');
    expect(area('torch compiled', 4) / seconds('torch compiled') / disc).toBeCloseTo(1, 2);
    expect(area('torch eager', 2) / seconds('torch eager') / disc).toBeCloseTo(1, 2);
  });

  it('draws the ceilings, which meet at the ridge', () => {
    const [roof] = linesOf(svg, ink.floor.light) as [[number, number][]];
    const ridge = roof.at(-2) as [number, number];
    near(ridge[0], x(790 / 4.3), 'ridge');
    near(ridge[1], y(790e12), 'matrix product');
    const [bottom] = roof as [[number, number]];
    near(bottom[0], x(1e13 / 4.3e12), 'copy');
    near(bottom[1], y(1e13), 'copy');
    expect(texts(svg).map(({ text }) => text)).toEqual(
      expect.arrayContaining(['790 TFLOP/s', '4.3 TB/s', 'ours', 'torch eager']),
    );
  });

  it('leaves out kernels without FLOPs, and is left out without kernels', async () => {
    expect(hinted(svg, 'groupNorm + SiLU')).toEqual([]);
    expect(roofline.plots(await resultWith({ measurements: [] }))).toEqual([]);
  });

  it('does without ceilings that were not measured', async () => {
    const bare = await drawn(roofline, await resultWith({ ceilings: [] }), 'roofline-bf16');
    expect(linesOf(bare, ink.floor.light)).toEqual([]);
    expect(hinted(bare, `ours: ${conv}\n`)).toHaveLength(1);
  });
});

describe('throughput', () => {
  it('draws a line for each engine and type through its rates, and the floors', async () => {
    const { measurements } = await resultWith();
    const result = await resultWith({ measurements: measurements.filter(({ dtype }) => dtype === 'bf16') });
    const svg = await drawn(throughput, result, 'throughput-train-cifar10-step-images');
    const x = scaleOf(svg, 'x', ['128', 128], ['512', 512]).logarithmic;
    const y = scaleOf(svg, 'y', ['5,000', 5000], ['20,000', 20_000]).linear;
    const { sides, floor } = measured(result, 'cifar10 step, batch 256', 'bf16');
    const [point] = hinted(svg, 'torch eager, bf16, batch 256') as [Shape];
    near(point.x, x(256), 'batch');
    near(point.y, y(256 / (sides['torch eager'] as Side).seconds.median), 'images/s');
    const corner = linesOf(svg, ink.floor.light).find((line) => line.length === 3)?.[1] as [number, number];
    near(corner[1], y(256 / (floor as number)), 'floor');
    expect(texts(svg).map(({ text }) => text)).toEqual(
      expect.arrayContaining(['ours, bf16', 'torch eager, bf16', 'floor, bf16']),
    );
  });

  it('counts the evaluations of every image, on a logarithmic axis where types lie far apart', async () => {
    const result = await resultWith();
    const svg = await drawn(throughput, result, 'throughput-sample-cifar10-ddim-50-evaluations');
    const y = scaleOf(svg, 'y', ['1,000', 1e3], ['10,000', 1e4]).logarithmic;
    const { ours } = measured(result, 'cifar10 ddim-50, batch 16', 'f32').sides as { ours: Side };
    const [point] = hinted(svg, 'ours, f32, batch 16') as [Shape];
    near(point.y, y((16 * 50) / ours.seconds.median), 'evaluations/s');
  });
});

describe('latency', () => {
  it('divides a sampling by its steps', async () => {
    const result = await resultWith();
    const svg = await drawn(latency, result, 'latency-cifar10-ddim-50');
    const y = scaleOf(svg, 'y', ['100 µs', 1e-4], ['1 ms', 1e-3]).logarithmic;
    const { sides, floor } = measured(result, 'cifar10 ddim-50, batch 1', 'bf16');
    const [point] = hinted(svg, 'ours, bf16, batch 1:') as [Shape];
    near(point.x, textAt(svg, '1').x, 'batch');
    near(point.y, y((sides.ours as Side).seconds.median / 50), 'step');
    expect(
      linesOf(svg, ink.floor.light).some(([first]) => Math.abs((first as [number, number])[1] - y((floor as number) / 50)) < 1),
    ).toBe(true);
  });
});

/** Left and right end of a bar. */
const ends = ({ outline, x }: Shape): [left: number, right: number] => {
  const [, start, width] = /^M([-\d.]+) [-\d.]+l([-\d.]+)/.exec(outline) as unknown as [string, string, string];
  const sides = [x + Number(start), x + Number(start) + Number(width)] as [number, number];
  return sides.sort((a, b) => a - b) as [number, number];
};

describe('the breakdown', () => {
  it('stacks the kinds of operations of ours and of the floor', async () => {
    const result = await resultWith();
    const svg = await drawn(breakdown, result, 'breakdown-cifar10-step-batch-128-bf16');
    const x = scaleOf(svg, 'x', ['2 ms', 2e-3], ['8 ms', 8e-3]).linear;
    const { kinds } = result.breakdowns[0] as (typeof result.breakdowns)[number];
    for (const [part, prefix] of [
      ['seconds', ''],
      ['floor', 'floor of '],
    ] as const) {
      const total = Object.values(kinds).reduce((sum, one) => sum + one[part], 0);
      const bars = Object.keys(kinds).flatMap((kind) => hinted(svg, `${prefix}${kind}, bf16`));
      expect(bars).toHaveLength(Object.keys(kinds).length);
      near(Math.max(...bars.map((one) => ends(one)[1])), x(total), `all of ${part}`);
      const [first] = hinted(svg, `${prefix}convolution weights, bf16`) as [Shape];
      near(ends(first)[1] - ends(first)[0], x(kinds['convolution weights']?.[part] as number) - x(0), `weights in ${part}`);
    }
    expect(texts(svg).map(({ text }) => text)).toEqual(expect.arrayContaining(['ours', 'floor', 'optimiser', 'the whole run']));
  });
});

describe('the ratios', () => {
  it('draw bars from 1 to the ratio, and whiskers as far as both spreads allow', async () => {
    const result = await resultWith();
    const svg = await drawn(ratios, result, 'ratios-train-cifar10-bf16');
    const x = scaleOf(svg, 'x', ['1×', 1], ['2×', 2]).logarithmic;
    const { ours, 'torch eager': peer } = measured(result, 'cifar10 step, batch 256', 'bf16').sides as Record<string, Side>;
    const [bar, whisker] = hinted(svg, 'cifar10 step, batch 256\n').filter((_, i, all) => i >= all.length / 2) as [Shape, Shape];
    const [seconds, others] = [(ours as Side).seconds, (peer as Side).seconds];
    near(ends(bar)[0], x(1), 'begin');
    near(ends(bar)[1], x(others.median / seconds.median), 'ratio');
    const [, from, to] = /^M([\d.]+) [\d.]+L([\d.]+)/.exec(whisker.outline) as unknown as [string, string, string];
    near(Number(from), x(others.p10 / seconds.p90), 'least');
    near(Number(to), x(others.p90 / seconds.p10), 'most');
    expect(texts(svg).map(({ text }) => text)).toContain(`${(others.median / seconds.median).toFixed(2)}×`);
  });

  it('are left out where no peer took part', async () => {
    const { measurements } = await resultWith();
    const alone = await resultWith({
      measurements: measurements.map((one) => ({ ...one, sides: { ours: one.sides.ours as Side } })),
    });
    expect(ratios.plots(alone)).toEqual([]);
  });
});

it('gives an engine one colour in every picture, and no two of a picture the same', () => {
  const here = engineColours(['ours', 'onnxruntime', 'torch contiguous', 'torch channels_last', 'another']);
  const there = engineColours(['torch graph', 'torch compile']);
  expect(new Set(here.values()).size).toBe(5);
  expect(there.get('ours')).toBe(here.get('ours'));
  expect(there.get('torch graph')).toBe(here.get('torch contiguous'));
  expect(there.get('torch compile')).not.toBe(here.get('onnxruntime'));
});

describe('lines against the batch', () => {
  it('has one line of an engine in a type, also where it runs in that type beside another once more', () => {
    const at = (dtype: 'f32' | 'bf16', ...engines: string[]) => {
      const one = measurement('ddim-50');
      const { ours } = one.sides as { ours: Side };
      return { ...one, dtype, batch: 4, sides: Object.fromEntries(engines.map((engine) => [engine, ours])) };
    };
    const drawnLines = (...measurements: ReturnType<typeof at>[]) =>
      lines(measurements, (seconds) => seconds, String)
        .filter(({ points }) => points.length > 0)
        .map(({ engine, dtype }) => `${engine} in ${dtype}`);
    const half = at('bf16', 'ours', 'onnxruntime f32');
    expect(drawnLines(at('f32', 'ours', 'onnxruntime'), half)).toEqual(['ours in bf16', 'ours in f32', 'onnxruntime in f32']);
    expect(drawnLines(half)).toEqual(['ours in bf16', 'onnxruntime f32 in bf16']);
  });
});
