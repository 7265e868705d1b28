// Two results side by side.
import { format } from './format.js';
import type { BenchResult, Measurement } from './result.js';
import type { Spread } from './statistics.js';

/** Something that both results have. */
export interface Compared {
  name: string;
  /** The old median over the new one: above 1 it has become faster, or smaller. */
  ratio: number;
  /** Whether the ranges from the 10th to the 90th percentile lie apart, where it was timed often enough to have ranges. */
  differs: boolean;
}

/** How a result differs from an older one. */
export interface Comparison {
  /** Why the two may differ for other reasons than the code. */
  warnings: string[];
  rows: Compared[];
  /** What only the old one has, and what only the new one has. */
  gone: string[];
  added: string[];
}

/** Below, a range says little: of three timings each, those of equals lie apart once in ten times. */
const enough = 4;

/** What must be alike for times to be comparable. */
const alike = ['device', 'cpu', 'isa', 'cores', 'kernel', 'node', 'commit'] as const;

/** Compares this package's part in each measurement, and the costs of calls. */
export function compare(before: BenchResult, after: BenchResult): Comparison {
  const [old, young] = [spreads(before), spreads(after)];
  const rows: Compared[] = [];
  for (const [name, one] of old) {
    const other = young.get(name);
    if (!other || other.median === 0) continue;
    const apart = one.p10 > other.p90 || one.p90 < other.p10;
    rows.push({ name, ratio: one.median / other.median, differs: apart && Math.min(one.samples, other.samples) >= enough });
  }
  const missing = (from: Map<string, Timed>, within: Map<string, Timed>) => [...from.keys()].filter((name) => !within.has(name));
  return { warnings: warnings(before, after), rows, gone: missing(old, young), added: missing(young, old) };
}

type Timed = Spread & { samples: number };

function spreads({ measurements, overheads }: BenchResult): Map<string, Timed> {
  const all = new Map<string, Timed>();
  for (const one of measurements) {
    const { ours } = one.sides;
    if (ours) all.set(keyOf(one), { ...ours.seconds, samples: ours.samples });
  }
  // How often is not told: many times, or it is a size, which has no chance in it.
  for (const { name, value } of overheads) all.set(name, { ...value, samples: Number.POSITIVE_INFINITY });
  return all;
}

function keyOf({ suite, name, network, dtype, batch }: Measurement): string {
  return [`${suite}: ${name}`, network, dtype, batch === undefined ? undefined : `batch ${batch}`].filter(Boolean).join(', ');
}

function warnings(before: BenchResult, after: BenchResult): string[] {
  const facts = ({ machine, threads, quick }: BenchResult) => {
    const { gpu } = machine as { gpu?: Record<string, unknown> };
    const named = Object.fromEntries(alike.map((name) => [name, machine[name]]));
    return { ...named, threads, quick, gpu: gpu?.name, driver: gpu?.driver } as Record<string, unknown>;
  };
  const [old, young] = [facts(before), facts(after)];
  return Object.keys(old)
    .filter((name) => old[name] !== young[name])
    .map((name) => `${name} differs: ${old[name] ?? 'unknown'}, then ${young[name] ?? 'unknown'}`);
}

/** It in lines: what differs beyond chance first. */
export function comparison({ warnings, rows, gone, added }: Comparison): string[] {
  const width = Math.max(0, ...rows.map(({ name }) => name.length));
  const sorted = [...rows].sort((a, b) => Number(b.differs) - Number(a.differs) || b.ratio - a.ratio);
  const differing = rows.filter(({ differs }) => differs).length;
  return [
    '',
    ...warnings.map((one) => `warning: ${one}`),
    `${differing} of ${rows.length} differ: the ranges of their 10th to 90th percentiles lie apart, of ${enough} timings or more (* below; a ratio above 1: faster now)`,
    ...sorted.map(({ name, ratio, differs }) => `${differs ? '*' : ' '} ${name.padEnd(width)}  ${format(ratio)}×`),
    ...gone.map((name) => `- ${name} was measured before only`),
    ...added.map((name) => `+ ${name} is measured now only`),
  ];
}
