// What a report begins with: the ratios in short, and the machine.
import type { Measurement } from '../result.js';
import { bytes, times } from './format.js';
import type { Markup } from './markup.js';
import { enginesOf, groupBy, ratioOf } from './picture.js';
import type { Labelled } from './pictures.js';
import { suites } from './suites.js';
import { align, type Cell, cell, table } from './table.js';

/** The geometric mean of the ratios to each peer, by suite and element type. */
export function summaryTable(results: readonly Labelled[]): Markup | undefined {
  const rows = align(results.map(({ result }) => summaryRows(result.measurements)));
  if (rows.length === 0) return undefined;
  const heads = { keys: ['suite', 'type', 'beside'], cells: ['times as fast', 'least', 'most', 'measurements'] };
  const labels = results.map(({ label }) => label);
  return table('Ratios in short', heads, labels, rows);
}

function summaryRows(measurements: readonly Measurement[]) {
  const order = Object.keys(suites);
  const sorted = [...measurements].sort((a, b) => order.indexOf(a.suite) - order.indexOf(b.suite));
  return [...groupBy(sorted, ({ suite, dtype }) => `${suite} ${dtype}`).values()].flatMap((group) =>
    enginesOf(group).flatMap((peer) => {
      const ratios = group.flatMap(({ sides: { ours, [peer]: other } }) =>
        ours && other && peer !== 'ours' ? [ratioOf(ours, other).ratio] : [],
      );
      const { suite, dtype } = group[0] as Measurement;
      return ratios.length === 0 ? [] : [{ keys: [suites[suite], dtype, peer], cells: ratioCells(ratios) }];
    }),
  );
}

function ratioCells(ratios: readonly number[]): Cell[] {
  const mean = Math.exp(ratios.reduce((sum, ratio) => sum + Math.log(ratio), 0) / ratios.length);
  const [least, most] = [Math.min(...ratios), Math.max(...ratios)];
  return [...[mean, least, most].map((value) => cell(times(value), value)), cell(ratios.length, ratios.length)];
}

/** Everything that the file says of the machine; what changed while it was measured with both values. */
export function machineTable(results: readonly Labelled[]): Markup {
  const rows = align(
    results.map(({ result }) => {
      const after = new Map(facts(result.machineAfter));
      const before = [...facts(result.machine), ['threads', String(result.threads)] as const];
      return before.map(([name, value]) => {
        const then = after.get(name) ?? value;
        const text = then === value ? value : `${value} → ${then}`;
        return { keys: [name], cells: [cell(text, text)] };
      });
    }),
  );
  const labels = results.map(({ label }) => label);
  return table('Machine', { keys: ['fact'], cells: ['before → after'], facts: true }, labels, rows);
}

/** Names and values of an object and of those within it. */
function facts(from: Record<string, unknown>, prefix = ''): [name: string, value: string][] {
  return Object.entries(from).flatMap(([key, value]) => {
    const name = prefix + words(key);
    if (value === null || value === undefined) return [];
    if (typeof value === 'object' && !Array.isArray(value)) return facts(value as Record<string, unknown>, `${name}: `);
    if (key.endsWith('Bytes') && typeof value === 'number') return [[name.replace(/ bytes$/, ''), bytes(value)]];
    return [[name, Array.isArray(value) ? value.join(', ') : readable(value)]];
  });
}

/** 'smClock' becomes 'sm clock'. */
const words = (key: string): string => key.replace(/([a-z])([A-Z])/g, (_, end, start) => `${end} ${start.toLowerCase()}`);

/** Dates to the minute; everything else as it is. */
const readable = (value: unknown): string =>
  String(value).replace(/^(\d{4}-\d\d-\d\d)T(\d\d:\d\d):[\d.]+Z$/, (_, day, time) => `${day} ${time} UTC`);
