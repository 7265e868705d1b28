import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';

const repository = join(__dirname, '..', '..');

/** Where the tests of one run write: its name comes from the reporter, which runs before them and whose environment they have. */
const variable = 'DIFFUSION_CONFORMANCE_RUN';
const folderOf = (run: string) => join(repository, 'out', 'conformance', run);

/** A case of the reference data: its description's path in the golden folder without `.json`, its id there, and who computed: a device, or 'host'. */
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

/** Begins a run: the tests of the processes started from here on write for it. */
export function beginLines(): void {
  process.env[variable] = `${process.pid}-${Date.now()}`;
}

/** What the tests of this run wrote; it is forgotten after that. */
export function takeLines(): ConformanceLine[] {
  const folder = folderOf(process.env[variable] as string);
  if (!existsSync(folder)) return [];
  const files = readdirSync(folder).map((name) => readFileSync(join(folder, name), 'utf8'));
  rmSync(folder, { recursive: true });
  return files.flatMap((text) => text.split('\n').filter(Boolean)).map((line) => JSON.parse(line) as ConformanceLine);
}

function write(line: ConformanceLine): void {
  const run = process.env[variable];
  if (run === undefined) return; // a run with other reporters
  const folder = folderOf(run);
  mkdirSync(folder, { recursive: true });
  const numbers = (_: string, value: unknown) => (typeof value === 'number' && !Number.isFinite(value) ? String(value) : value);
  appendFileSync(join(folder, `${process.pid}.jsonl`), `${JSON.stringify(line, numbers)}\n`);
}
