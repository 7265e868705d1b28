import { format } from './format.js';
import type { Breakdown, Measurement, Overhead, SuiteName } from './result.js';
import type { Found } from './suite.js';

/** What a suite found, in lines with columns: median, rate, share of what the machine could do, and how the others compare. */
export function table(suite: SuiteName, found: readonly Found[]): string[] {
  if (found.length === 0) return [];
  const rows = found.flatMap((one) =>
    'measurement' in one ? [measurementRow(one.measurement)] : 'overhead' in one ? [overheadRow(one.overhead)] : [],
  );
  const texts = found.flatMap((one) => ('breakdown' in one ? [breakdownLine(one.breakdown)] : []));
  if (found.some((one) => 'measurement' in one)) rows.unshift(['', '', 'median', '10 to 90 %', 'rate', 'floor/time', '']);
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  const lines = rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  '));
  return ['', suite, ...[...lines, ...texts].map((line) => `  ${line.trimEnd()}`)];
}

function measurementRow({ name, dtype, batch, images, evaluations, work, floor, sides }: Measurement): string[] {
  const { ours, ...others } = sides;
  if (!ours) return [name, dtype];
  const { median, p10, p90 } = ours.seconds;
  const count = images === undefined ? undefined : `${format(images / median)} images/s`;
  const evaluated = evaluations === undefined ? undefined : `${format(((images ?? 1) * evaluations) / median)} evaluations/s`;
  const rate =
    work && (work.flops > 0 ? `${format(work.flops / median / 1e9)} GFLOP/s` : `${format(work.bytes / median / 1e9)} GB/s`);
  const compared = Object.entries(others).map(
    ([side, { seconds, fastest }]) => `${side} takes ${(seconds.median / median).toFixed(2)}×${fastest ? ' (fastest)' : ''}`,
  );
  return [
    name,
    [dtype, ...(batch === undefined ? [] : [`batch ${batch}`])].join(', '),
    time(median),
    `(${time(p10)} to ${time(p90)})`,
    evaluated ?? count ?? rate ?? '',
    floor === undefined ? '' : `${((100 * floor) / median).toFixed(0)} %`,
    compared.join(', '),
  ];
}

function overheadRow({ name, unit, value }: Overhead): string[] {
  const show = (one: number) => (unit === 'bytes' ? `${format(one / 1e6)} MB` : `${format(one)} ${unit}`);
  return [name, '', show(value.median), value.p10 === value.p90 ? '' : `(${show(value.p10)} to ${show(value.p90)})`];
}

function breakdownLine({ name, dtype, batch, kinds }: Breakdown): string {
  const all = Object.values(kinds).reduce((sum, { seconds }) => sum + seconds, 0);
  const parts = Object.entries(kinds)
    .sort(([, a], [, b]) => b.seconds - a.seconds)
    .map(([kind, { seconds }]) => `${kind} ${((100 * seconds) / all).toFixed(1)} %`);
  return `${name} in ${dtype}, batch ${batch}, under a profile ${time(all)}: ${parts.join(', ')}`;
}

/** A time in the unit in which it reads best. */
export function time(seconds: number): string {
  if (seconds >= 1) return `${format(seconds)} s`;
  return seconds >= 1e-3 ? `${format(seconds * 1e3)} ms` : `${format(seconds * 1e6)} µs`;
}
