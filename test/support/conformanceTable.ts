import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { type ConformanceLine, caseId } from './conformance.js';

/** What names a case in the table. */
export type TableCase = Pick<ConformanceLine, 'file' | 'id'>;

const order = ({ file, id, device }: ConformanceLine) => `${file} ${id} ${device}`;
const share = ({ error, tolerance }: ConformanceLine) => Number(error) / (tolerance || Number.MIN_VALUE);
const cell = (text: string | undefined) => (text ?? '').replaceAll('|', '/').trim();

/** One line for each case and device, in the table's order: of its quantities the one nearest to its tolerance. */
export function linesOf(written: readonly ConformanceLine[]): ConformanceLine[] {
  const worst = new Map<string, ConformanceLine>();
  for (const line of written) {
    const before = worst.get(order(line));
    if (!before || before.reason !== undefined || !(share(line) <= share(before))) worst.set(order(line), line);
  }
  return [...worst.values()].sort((a, b) => order(a).localeCompare(order(b)));
}

/** Whether a case is among others, as the table spells it. */
export function isNamed(lines: readonly TableCase[], { file, id }: TableCase): boolean {
  return lines.some((line) => line.file === file && cell(line.id) === cell(id));
}

/** The table as Markdown; `unseen` are the cases that nobody named. */
export function conformanceTable(lines: readonly ConformanceLine[], unseen: readonly TableCase[]): string {
  const number = (value: number | undefined) => Number(value).toPrecision(2);
  const cells = (line: ConformanceLine) =>
    line.reason === undefined
      ? [line.quantity, number(line.tolerance), number(line.error), share(line) <= 1 ? 'passed' : 'FAILED']
      : [line.reason, '', '', 'not compared'];
  const head = ['reference', 'case', 'device', 'quantity nearest to its tolerance', 'tolerance', 'error', 'verdict'];
  const rows = [head, head.map(() => '---'), ...lines.map((line) => [line.file, line.id, line.device, ...cells(line)])];
  const skipped = lines.filter(({ reason }) => reason !== undefined).length;
  const paragraphs = [
    '# Reference cases',
    'Written by the tests (`npm run conformance`): a line for each case and device, with the quantity nearest to its tolerance. Schedules and ' +
      'lists of steps are computed on the host, whatever the device.',
    `${lines.length - skipped} lines compared, ${skipped} not, for the reason that they give.`,
    rows.map((row) => `| ${row.map(cell).join(' | ')} |`).join('\n'),
    ...(unseen.length > 0 ? [`Not in the table: ${unseen.map(({ file, id }) => `${file} ${id}`).join('; ')}.`] : []),
  ];
  return `${paragraphs.join('\n\n')}\n`;
}

/** The cases and devices that a table names. */
export function rowsOf(table: string): Pick<ConformanceLine, 'file' | 'id' | 'device'>[] {
  const rows = table.split('\n').filter((line) => line.startsWith('| '));
  return rows.slice(2).map((row) => {
    const [, file = '', id = '', device = ''] = row.split('|').map((text) => text.trim());
    return { file, id, device };
  });
}

const noCases = ['index.json', 'config.json', 'model_index.json', 'scheduler_config.json'];

/** Every case described in the golden folder. */
export function casesOf(folder: string | null, root = folder): TableCase[] {
  if (folder === null || root === null) return [];
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) return casesOf(path, root);
    if (!name.endsWith('.json') || noCases.includes(name)) return [];
    const file = relative(root, path).replace(/(\/case)?\.json$/, '');
    const json = JSON.parse(readFileSync(path, 'utf8')) as { id?: string; cases?: object[] };
    return json.cases ? json.cases.map((item) => ({ file, id: caseId(item) })) : [{ file, id: json.id ?? file }];
  });
}
