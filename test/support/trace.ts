import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import type { ProgramCommand } from '../../lib/program.js';

/** A command in a trace; times in microseconds. */
export interface TraceEvent {
  name: string;
  pid: number;
  tid: number;
  ts: number;
  dur: number;
  args: Omit<ProgramCommand, 'name'> & { 'GFLOP/s'?: number; 'GB/s'?: number; failed?: true };
}

/** The commands of a trace, and the names of its rows. The file must be a whole array, and no row may do two things at a time. */
export function readTrace(path: string): { events: TraceEvent[]; rows: Map<number, string>; processes: number[] } {
  const all = JSON.parse(readFileSync(path, 'utf8')) as (TraceEvent & { ph: string; args: { name: string } })[];
  const named = (name: string) => all.filter((event) => event.ph === 'M' && event.name === name);
  const events: TraceEvent[] = all.filter(({ ph }) => ph === 'X');
  const rows = new Map(named('thread_name').map(({ tid, args }) => [tid, args.name]));
  const ends = new Map<number, number>();
  for (const { tid, ts, dur } of events) {
    expect(rows.has(tid)).toBe(true);
    expect(dur).toBeGreaterThanOrEqual(0);
    expect(ts).toBeGreaterThanOrEqual((ends.get(tid) ?? 0) - 0.002); // both are rounded to a thousandth
    ends.set(tid, ts + dur);
  }
  return { events, rows, processes: named('process_name').map(({ pid }) => pid) };
}

/** What a trace says of a command beyond its time. */
export function commandOf({ name, args: { dtype, shapes, flops, bytes } }: TraceEvent): ProgramCommand {
  return { name, dtype, shapes, flops, bytes };
}
