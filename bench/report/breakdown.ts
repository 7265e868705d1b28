// Where the time of a run goes, by kind of operation, beside what it would take at the machine's ceilings.
import type { BenchResult, Breakdown } from '../result.js';
import { area, axis, legends, nameless, type Plot, width } from './chart.js';
import { percent, seconds, slug, tick } from './format.js';
import { groupBy, labelOf, type Picture } from './picture.js';
import { ink, kindColours } from './theme.js';

const row = 30;

export const breakdown: Picture = {
  heading: 'Where the time goes',
  caption:
    'The time of a run by kind of operation, ours above and below it the floor of the same operations. The mark is the run as it was measured by the ' +
    'clock, with all that lies between operations.',
  missing: 'No breakdown by kind of operation: the result holds none.',
  plots: (result) =>
    [...groupBy(result.breakdowns, ({ name, dtype }) => JSON.stringify([name, dtype])).values()].map((group) =>
      plot(result, group),
    ),
};

interface Row {
  label: string;
  breakdown: Breakdown;
  part: 'seconds' | 'floor';
}

function plot({ measurements }: BenchResult, group: readonly Breakdown[]): Plot {
  const { name, dtype } = group[0] as Breakdown;
  const rows = group.flatMap((one): Row[] => [
    { label: `ours${group.length > 1 ? `, batch ${one.batch}` : ''}`, breakdown: one, part: 'seconds' },
    { label: 'floor', breakdown: one, part: 'floor' },
  ]);
  const kinds = bySize(group);
  const colours = kindColours(kinds);
  const marks = rows.flatMap(({ breakdown: { batch }, part }, i) => {
    const run = measurements.find((one) => one.name === name && one.dtype === dtype && (one.batch ?? batch) === batch);
    return part === 'seconds' && run?.sides.ours ? [[run.sides.ours.seconds.median, i]] : [];
  });
  return {
    name: `breakdown-${slug(name)}-${dtype}`,
    title: `${labelOf(only(group))}, ${dtype}: time by kind of operation`,
    description: `Time by kind of operation of ${name} in ${dtype}. ${group.map(describe).join(' ')}`,
    width,
    height: Math.max(area.top + nameless + row * rows.length, area.top + 22 * (kinds.length + marks.length) + 30),
    hints: kinds.map((kind) => rows.map((one) => hint(kind, one))),
    option: {
      grid: { ...area, left: 120, bottom: nameless, outerBoundsMode: 'none' },
      legend: legends(22, kinds, marks.length > 0 ? ['the whole run'] : []),
      xAxis: { ...axis, type: 'value', min: 0, axisLabel: { ...axis.axisLabel, formatter: tick('s') } },
      yAxis: {
        ...axis,
        ...{ type: 'category', inverse: true, data: rows.map(({ label }) => label) },
        splitLine: { show: false },
        axisTick: { show: false },
      },
      series: [
        ...kinds.map((kind) => ({
          ...{ type: 'bar' as const, name: kind, stack: 'time', barMaxWidth: row - 6 },
          itemStyle: { color: colours.get(kind), borderColor: ink.surface.light, borderWidth: 0.5 },
          data: rows.map(({ breakdown: { kinds: of }, part }) => of[kind]?.[part] ?? 0),
        })),
        ...(marks.length > 0
          ? [
              {
                ...{ type: 'scatter' as const, name: 'the whole run', symbol: 'rect', symbolSize: [3, row], data: marks },
                itemStyle: { color: ink.text.light, opacity: 1 },
                z: 5,
              },
            ]
          : []),
      ],
    },
  };
}

/** The kinds of these breakdowns, what takes longest first. */
function bySize(group: readonly Breakdown[]): string[] {
  const total = new Map<string, number>();
  for (const { kinds } of group) {
    const all = Object.values(kinds).reduce((sum, one) => sum + one.seconds, 0) || 1;
    for (const [kind, { seconds: taken }] of Object.entries(kinds)) total.set(kind, (total.get(kind) ?? 0) + taken / all);
  }
  return [...total].sort(([, a], [, b]) => b - a).map(([kind]) => kind);
}

function hint(kind: string, { breakdown: { kinds, dtype, batch }, part }: Row): string {
  const own = kinds[kind];
  if (!own) return '';
  const all = Object.values(kinds).reduce((sum, one) => sum + one[part], 0);
  const where = part === 'floor' ? 'floor of ' : '';
  return `${where}${kind}, ${dtype}, batch ${batch}\n${seconds(own[part])} in ${own.count} operations, ${percent(own[part] / all)}`;
}

function describe(one: Breakdown): string {
  const { batch, kinds } = one;
  const parts = bySize([one]).map((kind) => {
    const { seconds: taken, floor } = kinds[kind] as Breakdown['kinds'][string];
    return `${kind} ${seconds(taken)}, floor ${seconds(floor)}`;
  });
  return `Batch ${batch}: ${parts.join('; ')}.`;
}

/** What the title names: the batch where there is one only. */
const only = ([first, ...others]: readonly Breakdown[]) => ({
  name: (first as Breakdown).name,
  batch: others.length === 0 ? (first as Breakdown).batch : undefined,
});
