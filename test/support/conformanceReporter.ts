import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Reporter, TestModule, TestRunEndReason, Vitest } from 'vitest/node';
import { beginLines, takeLines } from './conformance.js';
import { casesOf, conformanceTable, isNamed, linesOf, rowsOf, type TableCase } from './conformanceTable.js';
import { sharedGolden, whyNoGolden } from './shared.js';

const repository = join(__dirname, '..', '..');
const published = join(repository, 'docs', 'conformance.md');

/**
 * Makes the table of all reference cases that the run compared: out/conformance.md of the whole suite, which `npm run conformance`
 * also writes to docs/conformance.md, and out/conformance-partial.md of anything less.
 */
export default class ConformanceReporter implements Reporter {
  #vitest: Vitest | undefined;

  onInit(vitest: Vitest): void {
    this.#vitest = vitest;
    beginLines();
  }

  onTestRunEnd(modules: readonly TestModule[], _errors: readonly unknown[], reason: TestRunEndReason): void {
    const written = takeLines();
    if (written.length === 0) return;
    const whole = reason !== 'interrupted' && this.#isWhole(modules);
    const lines = linesOf([...written, ...(whole ? absent(written) : [])]);
    const unseen = casesOf(sharedGolden).filter((one) => !isNamed(lines, one));
    const name = whole ? 'conformance.md' : 'conformance-partial.md';
    const text = conformanceTable(lines, whole ? unseen : []);
    mkdirSync(join(repository, 'out'), { recursive: true });
    writeFileSync(join(repository, 'out', name), text);
    const skipped = lines.filter((line) => line.reason !== undefined).length;
    console.log(`reference cases: ${lines.length - skipped} compared, ${skipped} not, with a reason (out/${name})`);
    if (!whole || process.env.npm_lifecycle_event !== 'conformance') return;
    // Where only a clone is, the table would lose what the full reference data gave it.
    if (sharedGolden) writeFileSync(published, text);
    if (unseen.length > 0)
      console.log(`cases of the golden folder that no test named: ${unseen.map(({ file, id }) => `${file} ${id}`).join(', ')}`);
  }

  /** Whether every test file ran, and all of each. */
  #isWhole(modules: readonly TestModule[]): boolean {
    const { config } = this.#vitest as Vitest;
    if (config.testNamePattern || config.shard) return false;
    const ran = new Set(modules.map(({ moduleId }) => moduleId));
    const files = readdirSync(join(repository, 'test'), { recursive: true, encoding: 'utf8' });
    return files.filter((name) => name.endsWith('.test.ts')).every((name) => ran.has(join(repository, 'test', name)));
  }
}

/** Cases of the published table that a clone without the full reference data cannot compare. */
function absent(written: readonly TableCase[]) {
  if (sharedGolden || !existsSync(published)) return [];
  const known = rowsOf(readFileSync(published, 'utf8')).filter((one) => !isNamed(written, one));
  return known.map((one) => ({ ...one, reason: whyNoGolden }));
}
