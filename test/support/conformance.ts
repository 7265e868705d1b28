import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';

const folder = join(__dirname, '..', '..', 'out', 'conformance');

/** A case of the reference data: its description's path in the golden folder without `.json`, its id there, and who computed. */
export interface ReferenceCase {
  file: string;
  id: string;
  device: string;
}

/** A line of the table that is made of all reference cases. */
export interface ConformanceLine extends ReferenceCase {
  /** What was compared, and how: 'mean, max abs'. */
  quantity?: string;
  error?: number;
  tolerance?: number;
  /** Why the case was not checked. */
  reason?: string;
}

/** Fails when the error is above the tolerance, or NaN; either way the case is in the table. */
export function conform(reference: ReferenceCase, quantity: string, error: number, tolerance: number): void {
  write({ ...reference, quantity, error, tolerance });
  expect(error, `${reference.file} ${reference.id}: ${quantity}`).toBeLessThanOrEqual(tolerance);
}

/** Puts a case that is not checked into the table, with the reason. */
export function notChecked(reference: ReferenceCase, reason: string): void {
  write({ ...reference, reason });
}

/** The id of a case; of one without, its plain entries. */
export function caseId(description: object): string {
  const { id, ...entries } = description as { id?: string };
  const plain = Object.entries(entries).filter(([, value]) => value !== null && typeof value !== 'object');
  return id ?? plain.map(([key, value]) => `${key}=${value}`).join(' ');
}

/** What the tests of this run wrote. */
export function writtenLines(): ConformanceLine[] {
  if (!existsSync(folder)) return [];
  const files = readdirSync(folder).map((name) => readFileSync(join(folder, name), 'utf8'));
  return files.flatMap((text) => text.split('\n').filter(Boolean)).map((line) => JSON.parse(line) as ConformanceLine);
}

export function clearLines(): void {
  rmSync(folder, { recursive: true, force: true });
}

function write(line: ConformanceLine): void {
  mkdirSync(folder, { recursive: true });
  const numbers = (_: string, value: unknown) => (typeof value === 'number' && !Number.isFinite(value) ? String(value) : value);
  appendFileSync(join(folder, `${process.pid}.jsonl`), `${JSON.stringify(line, numbers)}\n`);
}
