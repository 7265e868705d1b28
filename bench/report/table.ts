// Tables whose columns are there once for every result.
import { html, type Markup, type Part } from './markup.js';

/** What a cell shows, and the number or text that rows are sorted by. */
export interface Cell {
  text: Part;
  sort: number | string;
}

/** A row: what it is, and for each result its cells, or nothing where that result lacks it. */
export interface Row {
  keys: readonly string[];
  results: readonly (readonly Cell[] | undefined)[];
}

/** The heads of a table: of the keys, and of the cells of one result. */
export interface Heads {
  keys: readonly string[];
  cells: readonly string[];
  /** Cells hold words, which may take several lines. */
  facts?: boolean;
}

export const cell = (text: Part, sort: number | string): Cell => ({ text, sort });
export const empty = cell('', Number.NEGATIVE_INFINITY);

/** A cell where there is a value, and an empty one elsewhere. */
export const maybe = (value: number | undefined, write: (value: number) => string): Cell =>
  value === undefined ? empty : cell(write(value), value);

/** The table in a box that scrolls sideways; its heads are buttons that sort it. */
export function table(title: string, heads: Heads, labels: readonly string[], rows: readonly Row[]): Markup {
  const { keys, cells, facts = false } = heads;
  const several = labels.length > 1;
  const head = (name: string, kind?: string) =>
    html`<th scope="col"${kind && html` class="${kind}"`}><button type="button">${name}</button></th>`;
  const groups = html`<tr><td colspan="${keys.length}"></td>${labels.map(
    (label) => html`<th scope="colgroup" colspan="${cells.length}">${label}</th>`,
  )}</tr>`;
  return html`<div class="scroll" role="region" aria-label="${title}" tabindex="0"><table class="sortable${facts ? ' facts' : ''}">
<thead>${several ? groups : undefined}<tr>${keys.map((name) => head(name, 'key'))}${labels.map(() => cells.map((name) => head(name)))}</tr></thead>
<tbody>${rows.map((row) => html`<tr>${row.keys.map(key)}${row.results.map((one) => (one ?? cells.map(() => empty)).map(value))}</tr>\n`)}</tbody>
</table></div>
`;
}

const key = (text: string, i: number): Markup =>
  i === 0 ? html`<th scope="row" data-sort="${text}">${text}</th>` : html`<td class="key" data-sort="${text}">${text}</td>`;

const value = ({ text, sort }: Cell): Markup => html`<td data-sort="${sort}">${text}</td>`;

/** The rows of several results put beside each other, in the order in which their keys appear. */
export function align(perResult: readonly (readonly { keys: readonly string[]; cells: readonly Cell[] }[])[]): Row[] {
  const rows = new Map<string, { keys: readonly string[]; results: (readonly Cell[] | undefined)[] }>();
  perResult.forEach((own, i) => {
    for (const { keys, cells } of own) {
      const id = JSON.stringify(keys);
      const row = rows.get(id) ?? { keys, results: perResult.map(() => undefined) };
      row.results[i] = cells;
      rows.set(id, row);
    }
  });
  return [...rows.values()];
}
