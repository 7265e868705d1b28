import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import type { Reporter } from 'vitest/node';
import { type ConformanceLine, caseId, clearLines, writtenLines } from './conformance.js';
import { sharedGolden } from './shared.js';

const repository = join(__dirname, '..', '..');

/**
 * Makes the table of all reference cases that the run compared: out/conformance.md, and with `npm run conformance` (the whole
 * suite) docs/conformance.md. Of a case's quantities the one nearest to its tolerance is shown.
 */
export default class ConformanceReporter implements Reporter {
  onInit(): void {
    clearLines();
  }

  onTestRunEnd(): void {
    const lines = [...worstOfEach(writtenLines())].sort((a, b) => order(a).localeCompare(order(b)));
    if (lines.length === 0) return;
    const unseen = casesOf(sharedGolden).filter(({ file, id }) => !lines.some((line) => line.file === file && line.id === id));
    const text = table(lines, unseen);
    mkdirSync(join(repository, 'out'), { recursive: true });
    writeFileSync(join(repository, 'out', 'conformance.md'), text);
    if (process.env.npm_lifecycle_event === 'conformance') writeFileSync(join(repository, 'docs', 'conformance.md'), text);
    const skipped = lines.filter((line) => line.reason !== undefined).length;
    console.log(`reference cases: ${lines.length - skipped} compared, ${skipped} not, with a reason (out/conformance.md)`);
    if (process.env.npm_lifecycle_event === 'conformance' && unseen.length > 0)
      console.log(`cases of the golden folder that no test named: ${unseen.map(({ file, id }) => `${file} ${id}`).join(', ')}`);
  }
}

const order = ({ file, id, device }: ConformanceLine) => `${file} ${id} ${device}`;
const share = ({ error, tolerance }: ConformanceLine) => Number(error) / (tolerance || Number.MIN_VALUE);

function worstOfEach(lines: readonly ConformanceLine[]): Iterable<ConformanceLine> {
  const worst = new Map<string, ConformanceLine>();
  for (const line of lines) {
    const before = worst.get(order(line));
    if (!before || before.reason !== undefined || !(share(line) <= share(before))) worst.set(order(line), line);
  }
  return worst.values();
}

function table(lines: readonly ConformanceLine[], unseen: readonly { file: string; id: string }[]): string {
  const number = (value: number | undefined) => Number(value).toPrecision(2);
  const cells = (line: ConformanceLine) =>
    line.reason === undefined
      ? [line.quantity, number(line.tolerance), number(line.error), share(line) <= 1 ? 'passed' : 'FAILED']
      : [line.reason, '', '', 'not compared'];
  const head = ['reference', 'case', 'device', 'quantity nearest to its tolerance', 'tolerance', 'error', 'verdict'];
  const rows = [head, head.map(() => '---'), ...lines.map((line) => [line.file, line.id, line.device, ...cells(line)])];
  const note = unseen.length > 0 ? `\nNot in the table: ${unseen.length} cases of the golden folder.\n` : '';
  return `# Reference cases\n\nWritten by the tests (\`npm run conformance\`).\n\n${rows.map((row) => `| ${row.join(' | ')} |`).join('\n')}\n${note}`;
}

/** Every case described in the golden folder. */
function casesOf(folder: string | null, root = folder): { file: string; id: string }[] {
  if (folder === null || root === null) return [];
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) return casesOf(path, root);
    if (!name.endsWith('.json') || ['index.json', 'config.json', 'model_index.json', 'scheduler_config.json'].includes(name))
      return [];
    const file = relative(root, path).replace(/(\/case)?\.json$/, '');
    const json = JSON.parse(readFileSync(path, 'utf8')) as { id?: string; cases?: object[] };
    return json.cases ? json.cases.map((item) => ({ file, id: caseId(item) })) : [{ file, id: json.id ?? file }];
  });
}
