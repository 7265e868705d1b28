// What throughput and latency share: lines against the batch, one for each engine and element type, with the floors.
import type { LineSeriesOption } from 'echarts';
import { area, axis, legends, type Plot, width } from './chart.js';
import { powers } from './picture.js';
import { engineColours, ink } from './theme.js';

const height = 420;

/** One engine computing in one element type, or the floor of that type. */
export interface Line {
  /** 'floor' is drawn as one. */
  engine: string;
  dtype: 'f32' | 'bf16';
  /** By batch. */
  points: readonly { batch: number; value: number; hint: string }[];
}

/** What such a picture says. */
export interface LinePlot extends Pick<Plot, 'name' | 'title' | 'description'> {
  yName: string;
  /** Of a value on the upright axis. */
  write: (value: number) => string;
  /** Both axes logarithmic, or the upright one from 0. */
  logarithmic: boolean;
  lines: readonly Line[];
}

export function linePlot({ name, title, description, yName, write, logarithmic, lines }: LinePlot): Plot {
  const drawn = lines.filter(({ points }) => points.length > 0);
  const batches = drawn.flatMap(({ points }) => points.map(({ batch }) => batch));
  const values = drawn.flatMap(({ points }) => points.map(({ value }) => value));
  const alone = new Set(batches).size === 1;
  const [firstBatch, lastBatch] = powers(alone ? batches.flatMap((batch) => [batch / 2, batch * 2]) : batches, 2);
  const [least, most] = powers(values, 10);
  const colours = engineColours(drawn.filter(({ engine }) => engine !== 'floor').map(({ engine }) => engine));
  return {
    ...{ name, title, description, width, height },
    hints: drawn.map(({ points }) => points.map(({ hint }) => hint)),
    option: {
      grid: { ...area, outerBoundsMode: 'none' },
      legend: legends(34, drawn.map(nameOf)),
      xAxis: {
        ...axis,
        ...{ type: 'log', logBase: 2, min: firstBatch, max: lastBatch, name: 'batch', nameGap: 34 },
        splitLine: { show: false },
        axisLabel: { ...axis.axisLabel, formatter: (batch: number) => (batch < 1 ? '' : String(batch)) },
      },
      yAxis: {
        ...axis,
        ...(logarithmic ? { type: 'log', min: least, max: most } : { type: 'value', min: 0 }),
        ...{ name: yName, nameGap: 62 },
        axisLabel: { ...axis.axisLabel, formatter: write },
      },
      series: drawn.map(
        (line): LineSeriesOption => ({
          type: 'line',
          name: nameOf(line),
          data: line.points.map(({ batch, value }) => [batch, value]),
          ...look(line, colours.get(line.engine)),
        }),
      ),
    },
  };
}

/** Some engines' names say their type: what stands in for a type that they do not have. */
const nameOf = ({ engine, dtype }: Line): string => (/\b(f32|bf16)$/.test(engine) ? engine : `${engine}, ${dtype}`);

function look({ engine, dtype, points }: Line, colour: string | undefined): LineSeriesOption {
  const half = dtype === 'bf16';
  if (engine === 'floor') {
    const color = ink.floor.light;
    const lineStyle = { color, width: 1.4, type: half ? [2, 3] : [7, 3, 2, 3] };
    // A line through one point cannot be seen: a dash stands for it.
    if (points.length === 1) return { symbol: 'rect', symbolSize: [60, 2], lineStyle, itemStyle: { color }, z: 1 };
    return { symbol: 'none', lineStyle, itemStyle: { color, opacity: 0 }, z: 1 };
  }
  const itemStyle = { color: half ? colour : ink.surface.light, borderColor: colour, borderWidth: 2 };
  const lineStyle = { color: colour, width: 2.2, ...(half ? {} : { type: [6, 4] }) };
  return { symbol: half ? 'circle' : 'rect', symbolSize: 8, itemStyle, lineStyle, z: engine === 'ours' ? 4 : 3 };
}
