// The page's style, for light and dark surroundings and for narrow screens, and the script that sorts tables.
import { colours, fontFamily, ink } from './theme.js';

/** The pictures' colours on a dark page. */
const darkPictures = colours
  .flatMap(({ light, dark }) => [`svg [fill="${light}"]{fill:${dark}}`, `svg [stroke="${light}"]{stroke:${dark}}`])
  .join('\n');

const names = Object.keys(ink) as (keyof typeof ink)[];
const variables = (form: 'light' | 'dark') => names.map((name) => `--${name}:${ink[name][form]}`).join(';');

export const style = `
:root{color-scheme:light dark;${variables('light')}}
*{box-sizing:border-box}
body{margin:0;background:var(--surface);color:var(--text);font:16px/1.5 ${fontFamily}}
main,header,footer{max-width:1180px;margin:0 auto;padding:0 20px}
body.several>*{max-width:1600px}
header{padding-top:36px}
h1{font-size:1.9rem;line-height:1.2;margin:0 0 6px;overflow-wrap:anywhere}
h2{font-size:1.3rem;margin:48px 0 8px;padding-top:12px;border-top:1px solid var(--grid)}
h3{font-size:1.05rem;margin:28px 0 8px;overflow-wrap:anywhere}
p{max-width:78ch;margin:6px 0 14px;overflow-wrap:anywhere}
.quiet,.caption,nav{color:var(--quiet)}
nav a{color:inherit;margin-right:16px;display:inline-block}
.badge{display:inline-block;border:1px solid var(--line);border-radius:6px;padding:0 8px;font-size:.9rem}
.scroll,.plot{max-height:max(480px,85vh);overflow:auto}
.scroll{margin:8px 0 20px;border:1px solid var(--grid);border-radius:8px}
table{border-collapse:collapse;font-size:.86rem;font-variant-numeric:tabular-nums;width:100%}
th,td{padding:5px 12px;text-align:right;white-space:nowrap;border-top:1px solid var(--grid)}
thead tr:first-child th,thead tr:first-child td{border-top:0}
thead th{color:var(--quiet);font-weight:600;vertical-align:bottom}
thead tr:last-child th{position:sticky;top:0;background:var(--surface);box-shadow:inset 0 -1px var(--grid)}
th:first-child,th.key,td.key,.facts td,.facts th{text-align:left}
tbody th{font-weight:400}
tbody th{white-space:normal;min-width:24ch;max-width:44ch;overflow-wrap:anywhere}
table.facts th,table.facts td{white-space:normal;min-width:10ch;overflow-wrap:anywhere}
.scroll th[scope=colgroup]{text-align:center;border-left:1px solid var(--grid)}
tbody tr:hover{background:var(--grid)}
th button{all:unset;cursor:pointer}
th button:focus-visible{outline:2px solid var(--line)}
th[aria-sort=ascending] button::after{content:" ↑";content:" ↑" / ""}
th[aria-sort=descending] button::after{content:" ↓";content:" ↓" / ""}
figure{margin:12px 0 24px}
.plot{border:1px solid var(--grid);border-radius:8px;margin:10px 0}
.plot svg{display:block;width:100%;min-width:600px;max-width:1000px;height:auto;margin:0 auto}
.beside{display:grid;gap:16px;grid-template-columns:repeat(auto-fit,minmax(min(100%,520px),1fr))}
.beside>div{min-width:0}
footer{padding-top:32px;padding-bottom:48px}
@media (prefers-color-scheme:dark){:root{${variables('dark')}}
${darkPictures}
}
@media (max-width:600px){tbody th{min-width:15ch}th,td{padding:5px 8px}}
@media print{.scroll,.plot{max-height:none;overflow:visible;border:0}}
`;

/** Sorts a table by the column whose head is pressed; pressed again, the other way round. */
export const script = `
for (const table of document.querySelectorAll('table.sortable')) {
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  heads.forEach((head, column) => head.querySelector('button').addEventListener('click', () => {
    const down = head.getAttribute('aria-sort') !== 'descending' && isNumeric(table, column) || head.getAttribute('aria-sort') === 'ascending';
    for (const other of heads) other.removeAttribute('aria-sort');
    head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
    const sign = down ? -1 : 1;
    const value = (row) => row.cells[column].dataset.sort;
    const compare = (a, b) => isNumeric(table, column) ? Number(a) - Number(b) || 0 : a.localeCompare(b, undefined, { numeric: true });
    table.tBodies[0].append(...[...table.tBodies[0].rows].sort((a, b) => sign * compare(value(a), value(b))));
  }));
}
function isNumeric(table, column) {
  return [...table.tBodies[0].rows].every((row) => row.cells[column].dataset.sort !== '' && !Number.isNaN(Number(row.cells[column].dataset.sort)));
}
`;
