import type { BenchResult, Measurement, Side } from '../result.js';
import type { Plot } from './chart.js';

/** One sort of picture: what it is called, how to read it, and what it takes. */
export interface Picture {
  heading: string;
  /** How to read it. */
  caption: string;
  /** Why it is left out where a result gives no plot. */
  missing: string;
  plots(result: BenchResult): Plot[];
}

/** Every engine with a part in these measurements, ours first. */
export function enginesOf(measurements: readonly Measurement[]): string[] {
  const names = new Set(measurements.flatMap(({ sides }) => Object.keys(sides)));
  return [...(names.delete('ours') ? ['ours'] : []), ...names];
}

/** Groups in the order of their first members. */
export function groupBy<T>(items: readonly T[], key: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group) group.push(item);
    else groups.set(key(item), [item]);
  }
  return groups;
}

/** A value that only some members know, made part of their type. */
export const knows = <K extends keyof Measurement>(...keys: K[]) => {
  return (one: Measurement): one is Measurement & Required<Pick<Measurement, K>> => keys.every((key) => one[key] !== undefined);
};

/** How many times as fast as a peer we are, and the most and least that both spreads allow. */
export function ratioOf(ours: Side, peer: Side): { ratio: number; least: number; most: number } {
  return {
    ratio: peer.seconds.median / ours.seconds.median,
    least: peer.seconds.p10 / ours.seconds.p90,
    most: peer.seconds.p90 / ours.seconds.p10,
  };
}

/** The name, and where it does not say the batch, the batch. */
export function labelOf({ name, batch }: { name: string; batch?: number }): string {
  return batch === undefined || /batch/i.test(name) ? name : `${name}, batch ${batch}`;
}

/** The powers of `base` between which all values lie; at least one step apart. */
export function powers(values: readonly number[], base: number): [least: number, most: number] {
  const exponent = (value: number) => Math.log(value) / Math.log(base);
  const least = Math.floor(exponent(Math.min(...values)) + 1e-9);
  const most = Math.max(Math.ceil(exponent(Math.max(...values)) - 1e-9), least + 1);
  return [base ** least, base ** most];
}

/** What computed: the GPU, or the processor. */
export function deviceOf({ machine }: BenchResult): string {
  const gpu = machine.gpu as { name?: unknown } | undefined;
  return String(gpu?.name ?? machine.cpu ?? machine.device ?? 'this machine');
}
