// How many times as fast as each peer: bars that begin where both are equally fast.
import type { CustomSeriesRenderItem, CustomSeriesRenderItemReturn, MarkLineComponentOption } from 'echarts';
import type { Measurement, Side } from '../result.js';
import { area, axis, legends, nameless, type Plot, width } from './chart.js';
import { digits, slug, times } from './format.js';
import { enginesOf, groupBy, labelOf, type Picture, ratioOf } from './picture.js';
import { suites } from './suites.js';
import { engineColours, ink } from './theme.js';

const order = Object.keys(suites);
const bar = 13;
const longest = 40;

export const ratios: Picture = {
  heading: 'Beside the peers',
  caption:
    'The peer’s time divided by ours: to the right of 1× ours is faster, to the left the peer. Thin lines: what the spreads allow, from the peer’s tenth ' +
    'percentile over our ninetieth to the peer’s ninetieth over our tenth. The scale is logarithmic, so that twice as fast and half as fast are as long.',
  missing: 'No ratios: in this result nothing was measured on another engine beside ours.',
  plots: ({ measurements }) =>
    [
      ...groupBy(measurements.filter(hasPeer).sort(byImportance), ({ suite, network, dtype }) =>
        JSON.stringify([suite, network, dtype]),
      ).values(),
    ].map(plot),
};

/** What users wait for comes first. */
const byImportance = (a: Measurement, b: Measurement) => order.indexOf(a.suite) - order.indexOf(b.suite);

const hasPeer = ({ sides }: Measurement) => sides.ours !== undefined && Object.keys(sides).length > 1;

function plot(group: readonly Measurement[]): Plot {
  const { suite, network, dtype } = group[0] as Measurement;
  const peers = enginesOf(group).slice(1);
  const colours = engineColours(peers);
  const height = area.top + nameless + Math.max(group.length * (bar * peers.length + 10), 22 * peers.length);
  const batches = new Set(group.flatMap(({ batch }) => batch ?? []));
  const [shared] = batches.size === 1 ? batches : [];
  const title = [suites[suite], network, dtype, shared && `batch ${shared}`].filter(Boolean).join(', ');
  const label = (one: Measurement) => (shared === undefined ? labelOf(one) : one.name);
  const left = 28 + 6.9 * Math.min(longest, Math.max(...group.map((one) => label(one).length)));
  const bars = peers.map((peer) =>
    group.flatMap((one, at) => {
      const { ours, [peer]: other } = one.sides as { ours: Side } & Record<string, Side>;
      return other ? [{ at, label: label(one), ...ratioOf(ours, other) }] : [];
    }),
  );
  return {
    name: `ratios-${slug([suite, network ?? '', dtype].join(' '))}`,
    title: `${title}: times as fast as the peer`,
    description: describe(peers, bars, title),
    width,
    height,
    hints: bars.map((own, i) =>
      own.map(
        ({ label, ratio, ...range }) => `${label}\n${times(ratio)} ${peers[i]} (${times(range.least)} to ${times(range.most)})`,
      ),
    ),
    option: {
      grid: { ...area, left, bottom: nameless, outerBoundsMode: 'none' },
      legend: legends(22, peers),
      xAxis: { ...axis, type: 'log', ...ratioAxis(bars.flat().flatMap(({ least, most }) => [least, most])) },
      yAxis: {
        ...axis,
        ...{ type: 'category', inverse: true, data: group.map(label) },
        axisLabel: { ...axis.axisLabel, width: 0.8 * (left - 16), overflow: 'truncate', fontSize: 11 },
        splitLine: { show: false },
        axisTick: { show: false },
      },
      series: bars.map((own, i) => ({
        ...(i === 0 ? { markLine: equallyFast } : {}),
        ...{ type: 'custom' as const, name: peers[i], itemStyle: { color: colours.get(peers[i] as string) } },
        data: own.map(({ at, ratio, least, most }) => [ratio, at, least, most]),
        encode: { x: 0, y: 1 },
        renderItem: drawBar(i - (peers.length - 1) / 2, colours.get(peers[i] as string) as string),
      })),
    },
  };
}

/** The line where the bars begin. */
const equallyFast: MarkLineComponentOption = {
  silent: true,
  symbol: 'none',
  label: { show: false },
  lineStyle: { color: ink.line.light, width: 1.5, type: 'solid' },
  data: [{ xAxis: 1 }],
};

/** A bar from 1 to the ratio, its value, and its whisker; `place` is its distance from the row's middle, in bars. */
function drawBar(place: number, fill: string): CustomSeriesRenderItem {
  return (_, { coord, value }): CustomSeriesRenderItemReturn => {
    const at = (ratio: number) => coord([ratio, value(1)]) as [number, number];
    const [ratio, least, most] = [0, 2, 3].map((i) => Number(value(i))) as [number, number, number];
    const [end, middle] = at(ratio);
    const [[start], [from], [to]] = [at(1), at(least), at(most)];
    const y = middle + place * bar;
    const stroke = { stroke: ink.text.light, lineWidth: 1, fill: 'none' };
    return {
      type: 'group',
      children: [
        {
          type: 'rect',
          shape: { x: Math.min(start, end), y: y - bar / 2 + 1, width: Math.abs(end - start), height: bar - 2 },
          style: { fill },
        },
        { type: 'line', shape: { x1: from, y1: y, x2: to, y2: y }, style: stroke },
        { type: 'line', shape: { x1: from, y1: y - 3, x2: from, y2: y + 3 }, style: stroke },
        { type: 'line', shape: { x1: to, y1: y - 3, x2: to, y2: y + 3 }, style: stroke },
        {
          type: 'text',
          x: ratio < 1 ? Math.min(from, end) - 5 : Math.max(to, end) + 5,
          y,
          style: {
            text: times(ratio),
            fill: ink.quiet.light,
            fontSize: 10,
            align: ratio < 1 ? 'right' : 'left',
            verticalAlign: 'middle',
          },
        },
      ],
    };
  };
}

/** An axis on which 1 lies, with room for the numbers beside the bars: of powers of 2 or, where they would be many, of 10. */
function ratioAxis(ratios: readonly number[]) {
  const [least, most] = [Math.min(1, ...ratios), Math.max(1, ...ratios)];
  const logBase = most / least > 64 ? 10 : 2;
  const exponent = (ratio: number) => Math.log2(ratio) / Math.log2(logBase);
  return {
    logBase,
    min: logBase ** ((Math.floor(2 * exponent(least)) - 1) / 2),
    max: logBase ** ((Math.ceil(2 * exponent(most)) + 1) / 2),
    axisLabel: { ...axis.axisLabel, formatter: (ratio: number) => (isWhole(exponent(ratio)) ? `${digits(ratio)}×` : '') },
  };
}

const isWhole = (value: number) => Math.abs(value - Math.round(value)) < 1e-6;

function describe(peers: readonly string[], bars: readonly { label: string; ratio: number }[][], what: string): string {
  const lists = peers.map((peer, i) => {
    const own = (bars[i] as { label: string; ratio: number }[]).map(({ label, ratio }) => `${label} ${times(ratio)}`);
    return `Beside ${peer}: ${own.join(', ')}.`;
  });
  return `${what}, times as fast as the peer. ${lists.join(' ')}`;
}
