// Work done by each kernel in a second against the work that it has for each byte, below what the machine can do at most.
import type { SeriesOption } from 'echarts';
import type { BenchResult, Ceiling, Measurement } from '../result.js';
import { area, axis, legends, type Plot, width } from './chart.js';
import { percent, seconds, si, tick } from './format.js';
import { deviceOf, enginesOf, type Picture, powers } from './picture.js';
import { ink, kindColours } from './theme.js';

const height = 560;
/** Diameter of the disc of the kernel that takes longest. */
const largest = 34;

/** Symbols by engine; `side` of the square around one that covers as much as a disc of this diameter. */
const symbols = [
  { symbol: 'circle', side: 1 },
  { symbol: 'rect', side: Math.sqrt(Math.PI / 4) },
  { symbol: 'diamond', side: Math.sqrt(Math.PI / 2) },
  { symbol: 'triangle', side: Math.sqrt(Math.PI / 2) },
];
const symbolOf = (engine: number) => symbols[Math.min(engine, symbols.length - 1)] as (typeof symbols)[number];

type Worker = Measurement & Required<Pick<Measurement, 'work'>>;

interface Point {
  kind: string;
  engine: number;
  intensity: number;
  rate: number;
  seconds: number;
  hint: string;
}

export const roofline: Picture = {
  heading: 'Roofline',
  caption:
    'Each kernel at the FLOPs that it has for a byte of memory traffic and the FLOPs that it does in a second. The lines are what this machine ' +
    'reached in a copy and in large products of matrices; areas stand for the time of one run, colours for the kind of operation, shapes for the engine. ' +
    'Operations that only move bytes have no place here and are in the tables.',
  missing: 'No roofline: the result holds no kernel that counts both FLOPs and bytes.',
  plots: (result) => (['f32', 'bf16'] as const).flatMap((dtype) => plot(result, dtype)),
};

function plot(result: BenchResult, dtype: 'f32' | 'bf16'): Plot[] {
  const kernels = result.measurements.filter(
    (one): one is Worker =>
      one.suite === 'kernels' && one.dtype === dtype && !!one.work && one.work.flops > 0 && one.work.bytes > 0,
  );
  if (kernels.length === 0) return [];
  const engines = enginesOf(kernels);
  const points = kernels.flatMap((kernel) => pointsOf(kernel, engines)).sort((a, b) => b.seconds - a.seconds);
  const ceiling = result.ceilings.find((one) => one.dtype === dtype);
  const ridge = ceiling && ceiling.flopsPerSecond / ceiling.bytesPerSecond;
  const x = powers([...points.flatMap(({ intensity }) => [intensity / 1.2, intensity * 1.2]), ...(ridge ? [ridge] : [])], 10);
  const y = powers([...points.flatMap(({ rate }) => [rate / 1.2, rate * 1.2]), ...(ceiling ? [ceiling.flopsPerSecond] : [])], 10);
  const kinds = [...kindColours(points.map(({ kind }) => kind))];
  const series = [
    ...(ceiling ? [roof(ceiling, x, y)] : []),
    ...engines.map((name, i) => engineKey(name, i)),
    ...kinds.flatMap(([kind, colour]) =>
      engines.map((_, engine) => cloud(points, { kind, colour, engine, slowest: (points[0] as Point).seconds })),
    ),
  ];
  return [
    {
      name: `roofline-${dtype}`,
      title: `${dtype} kernels on ${deviceOf(result)}`,
      description: describe(points, engines, ceiling, dtype),
      width,
      height,
      hints: series.map(({ points: own }) => (own ?? []).map(({ hint }) => hint)),
      option: {
        grid: { ...area, outerBoundsMode: 'none' },
        legend: legends(
          14,
          kinds.map(([kind]) => kind),
          engines,
        ),
        xAxis: { ...axis, type: 'log', min: x[0], max: x[1], name: 'FLOP for a byte', nameGap: 34 },
        yAxis: {
          ...axis,
          ...{ type: 'log', min: y[0], max: y[1], name: 'FLOP/s', nameGap: 62 },
          axisLabel: { ...axis.axisLabel, formatter: tick('') },
        },
        series: series.map(({ points: _, ...one }) => one as SeriesOption),
      },
    },
  ];
}

function pointsOf({ name, kind, work, sides, floor }: Worker, engines: readonly string[]): Point[] {
  return engines.flatMap((engine, index) => {
    const side = sides[engine];
    if (!side) return [];
    const { median } = side.seconds;
    const rate = work.flops / median;
    const share = floor === undefined ? '' : `, ${percent(floor / median)} of the floor`;
    const hint = `${engine}: ${name}\n${si(rate, 'FLOP/s')} in ${seconds(median)}${share}`;
    return [{ kind, engine: index, intensity: work.flops / work.bytes, rate, seconds: median, hint }];
  });
}

interface Cloud {
  kind: string;
  colour: string;
  engine: number;
  slowest: number;
}

function cloud(points: readonly Point[], { kind, colour, engine, slowest }: Cloud) {
  const own = points.filter((point) => point.kind === kind && point.engine === engine);
  const { symbol, side } = symbolOf(engine);
  return {
    type: 'scatter' as const,
    name: kind,
    symbol,
    symbolKeepAspect: true,
    points: own,
    data: own.map(({ intensity, rate, seconds }) => ({
      value: [intensity, rate],
      symbolSize: largest * side * Math.sqrt(seconds / slowest),
    })),
    itemStyle:
      engine === 0
        ? { color: colour, opacity: 0.75, borderColor: colour, borderWidth: 1 }
        : { color: 'transparent', opacity: 1, borderColor: colour, borderWidth: 1.6 },
    z: engine === 0 ? 3 : 4,
  };
}

/** An empty series that puts an engine's symbol into the legend. */
function engineKey(name: string, engine: number) {
  const colour = ink.quiet.light;
  return {
    ...{ type: 'scatter' as const, name, symbol: symbolOf(engine).symbol, symbolKeepAspect: true, data: [], points: undefined },
    itemStyle: engine === 0 ? { color: colour } : { color: 'transparent', borderColor: colour, borderWidth: 1.6 },
  };
}

/** The two ceilings as one line, each with its value written along it. */
function roof({ flopsPerSecond, bytesPerSecond }: Ceiling, x: [number, number], y: [number, number]) {
  const ridge = flopsPerSecond / bytesPerSecond;
  const first = Math.max(x[0], y[0] / bytesPerSecond);
  const middle = Math.sqrt(first * ridge);
  const slope =
    (height - area.top - area.bottom) / Math.log(y[1] / y[0]) / ((width - area.left - area.right) / Math.log(x[1] / x[0]));
  const label = { show: true, color: ink.quiet.light, fontSize: 12 };
  const along = {
    ...label,
    rotate: (Math.atan(slope) * 180) / Math.PI,
    position: [-8, -20],
    formatter: si(bytesPerSecond, 'B/s'),
  };
  const above = { ...label, position: 'top', align: 'right', formatter: si(flopsPerSecond, 'FLOP/s') };
  return {
    ...{ type: 'line' as const, name: 'ceilings', symbol: 'circle', symbolSize: 0.01, points: undefined, z: 2 },
    itemStyle: { color: ink.floor.light },
    lineStyle: { color: ink.floor.light, width: 1.6 },
    data: [
      { value: [first, bytesPerSecond * first] },
      ...(first < ridge ? [{ value: [middle, bytesPerSecond * middle], label: along }] : []),
      { value: [ridge, flopsPerSecond] },
      { value: [x[1], flopsPerSecond], label: above },
    ],
  };
}

function describe(points: readonly Point[], engines: readonly string[], ceiling: Ceiling | undefined, dtype: string): string {
  const roofs = ceiling
    ? `Ceilings: ${si(ceiling.flopsPerSecond, 'FLOP/s')} and ${si(ceiling.bytesPerSecond, 'B/s')}.`
    : 'The ceilings were not measured.';
  const ranges = engines.map((name, engine) => {
    const rates = points.filter((point) => point.engine === engine).map(({ rate }) => rate);
    return `${name}: ${rates.length} kernels from ${si(Math.min(...rates), 'FLOP/s')} to ${si(Math.max(...rates), 'FLOP/s')}`;
  });
  return `Roofline of ${dtype} kernels. ${roofs} ${ranges.join('; ')}.`;
}
