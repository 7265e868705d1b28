// What a result holds, as tables.
import type { Breakdown, Measurement, Overhead, Side } from '../result.js';
import { bytes, digits, percent, seconds, si, times } from './format.js';
import type { Markup } from './markup.js';
import { enginesOf, ratioOf } from './picture.js';
import type { Labelled } from './pictures.js';
import { suites } from './suites.js';
import { align, type Cell, cell, empty, maybe, table } from './table.js';

/** All measurements of a suite: a row for each engine. */
export function measurementTable(suite: Measurement['suite'], results: readonly Labelled[]): Markup | undefined {
  const rows = align(
    results.map(({ result }) => result.measurements.filter((one) => one.suite === suite).flatMap((one) => sideRows(one))),
  );
  if (rows.length === 0) return undefined;
  const heads = {
    keys: ['measurement', 'engine', 'type', 'batch', 'network'],
    cells: ['median', 'p10 to p90', 'rate', 'of the floor', 'ours, times as fast', 'error', 'peak memory', 'runs'],
  };
  return table(suites[suite], heads, labelsOf(results), rows);
}

const labelsOf = (results: readonly Labelled[]) => results.map(({ label }) => label);

function sideRows(one: Measurement) {
  return enginesOf([one]).map((engine) => ({
    keys: [one.name, engine, one.dtype, one.batch === undefined ? '' : String(one.batch), one.network ?? ''],
    cells: sideCells(one, one.sides[engine] as Side),
  }));
}

function sideCells({ work, images, floor, sides }: Measurement, side: Side): Cell[] {
  const { median, p10, p90 } = side.seconds;
  const { ours } = sides;
  const ratio = ours && side !== ours ? ratioOf(ours, side) : undefined;
  const errors = side.errors?.length ? Math.max(...side.errors) : undefined;
  return [
    cell(seconds(median), median),
    cell(`${seconds(p10)} to ${seconds(p90)}`, p90 - p10),
    rateCell(work, images, median),
    maybe(floor === undefined ? undefined : floor / median, percent),
    ratio ? cell(`${times(ratio.ratio)} (${times(ratio.least)} to ${times(ratio.most)})`, ratio.ratio) : empty,
    maybe(errors, (error) => (error === 0 ? '0' : error.toExponential(1))),
    maybe(side.peakBytes, bytes),
    cell(digits(side.samples), side.samples),
  ];
}

function rateCell(work: Measurement['work'], images: number | undefined, taken: number): Cell {
  if (images !== undefined) return cell(`${digits(images / taken)} images/s`, images / taken);
  if (!work) return empty;
  return work.flops > 0
    ? cell(si(work.flops / taken, 'FLOP/s'), work.flops / taken)
    : cell(si(work.bytes / taken, 'B/s'), work.bytes / taken);
}

/** What the machine reached in products of matrices and in a copy. */
export function ceilingTable(results: readonly Labelled[]): Markup | undefined {
  const rows = align(
    results.map(({ result }) =>
      result.ceilings.map(({ dtype, flopsPerSecond, bytesPerSecond }) => ({
        keys: [dtype],
        cells: [
          cell(si(flopsPerSecond, 'FLOP/s'), flopsPerSecond),
          cell(si(bytesPerSecond, 'B/s'), bytesPerSecond),
          cell(`${digits(flopsPerSecond / bytesPerSecond)} FLOP for a byte`, flopsPerSecond / bytesPerSecond),
        ],
      })),
    ),
  );
  if (rows.length === 0) return undefined;
  return table('Ceilings', { keys: ['type'], cells: ['products', 'copy', 'where they meet'] }, labelsOf(results), rows);
}

/** Costs of calls, of memory and of installation. */
export function overheadTable(results: readonly Labelled[]): Markup | undefined {
  const rows = align(
    results.map(({ result }) =>
      result.overheads.map(({ name, unit, value: { median, p10, p90 } }) => ({
        keys: [name],
        cells: [
          cell(amount(median, unit), median),
          p10 === p90 ? empty : cell(`${amount(p10, unit)} to ${amount(p90, unit)}`, p90 - p10),
        ],
      })),
    ),
  );
  if (rows.length === 0) return undefined;
  return table('Overheads', { keys: ['overhead'], cells: ['median', 'p10 to p90'] }, labelsOf(results), rows);
}

const amount = (value: number, unit: Overhead['unit']) => (unit === 'bytes' ? bytes(value) : `${digits(value)} ${unit}`);

/** Where the time of a run goes. */
export function breakdownTable(results: readonly Labelled[]): Markup | undefined {
  const rows = align(results.map(({ result }) => result.breakdowns.flatMap(kindRows)));
  if (rows.length === 0) return undefined;
  const heads = {
    keys: ['operations', 'of', 'batch', 'type'],
    cells: ['time', 'share', 'how many', 'floor', 'of the floor', 'rate'],
  };
  return table('Operations', heads, labelsOf(results), rows);
}

function kindRows({ name, dtype, batch, kinds }: Breakdown) {
  const all = Object.values(kinds).reduce((sum, one) => sum + one.seconds, 0);
  return Object.entries(kinds).map(([kind, { seconds: taken, count, floor, ...work }]) => ({
    keys: [kind, name, String(batch), dtype],
    cells: [
      cell(seconds(taken), taken),
      cell(percent(taken / (all || 1)), taken),
      // What is no operation, as gaps are, happens no number of times and has no floor.
      count > 0 ? cell(digits(count), count) : empty,
      count > 0 ? cell(seconds(floor), floor) : empty,
      maybe(count > 0 && taken > 0 ? floor / taken : undefined, percent),
      count > 0 && taken > 0 ? rateCell(work, undefined, taken) : empty,
    ],
  }));
}
