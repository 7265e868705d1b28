// The report as one HTML file that fetches nothing and runs nothing but its own script.
import { createHash } from 'node:crypto';
import { html, Markup, type Part } from './markup.js';
import { deviceOf } from './picture.js';
import type { DrawnPicture, Labelled } from './pictures.js';
import { script, style } from './style.js';
import { suites } from './suites.js';
import { machineTable, summaryTable } from './summary.js';
import { breakdownTable, ceilingTable, measurementTable, overheadTable } from './tables.js';

/** Styles may stand within; of scripts only the one with this hash runs. */
const policy = `default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-${createHash('sha256').update(script).digest('base64')}'`;

/** The whole page. */
export function page(results: readonly Labelled[], drawn: readonly DrawnPicture[]): string {
  const devices = [...new Set(results.map(({ result }) => deviceOf(result)))].join(' and ');
  const sections = [...opening(results), ...drawn.map(pictureSection), ...closing(results)];
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Benchmark: ${devices}</title>
<link rel="icon" href="data:,">
<style>${new Markup(style)}</style>
</head>
<body${results.length > 1 ? html` class="several"` : undefined}>
<header>
<h1>Benchmark: ${devices}</h1>
${results.map(about)}
<nav aria-label="Sections">${sections.map(({ id, heading }) => html`<a href="#${id}">${heading}</a> `)}</nav>
</header>
<main>
${sections.map(({ id, heading, body }) => html`<section id="${id}"><h2>${heading}</h2>\n${body}</section>\n`)}</main>
<footer class="quiet">Written by diffusion-native from ${results.map(({ label }) => label).join(', ')}.</footer>
<script>${new Markup(script)}</script>
</body>
</html>
`.text;
}

interface Section {
  id: string;
  heading: string;
  body: Part;
}

function about({ label, result }: Labelled, _: number, all: readonly Labelled[]): Markup {
  const { machine, threads, quick, note } = result;
  const day = String(machine.date ?? '').slice(0, 10);
  const facts = [...(all.length > 1 ? [label] : []), `commit ${machine.commit ?? 'unknown'}`, day, `${threads} threads`];
  return html`<p class="quiet">${facts.filter(Boolean).join(' · ')} ${
    quick ? html`<span class="badge">quick: few shapes, few repetitions</span>` : undefined
  }</p>
${note === undefined ? undefined : html`<p>${note}</p>`}`;
}

/** The sections before the pictures. */
function opening(results: readonly Labelled[]): Section[] {
  return [
    {
      id: 'summary',
      heading: 'In short',
      body: [
        html`<p class="caption">How many times as fast as each peer: the geometric mean over all measurements of a suite, and the least and the most of them.</p>`,
        summaryTable(results) ?? html`<p>Nothing was measured on another engine beside ours.</p>`,
      ],
    },
    { id: 'machine', heading: 'Machine', body: machineTable(results) },
    {
      id: 'ceilings',
      heading: 'Ceilings',
      body: [
        html`<p class="caption">What this machine reached in the fastest of a few large matrix products and convolutions, and in a copy beyond its caches, just before the other measurements.</p>`,
        ceilingTable(results) ?? html`<p>The ceilings were not measured.</p>`,
      ],
    },
  ];
}

/** Those after them. */
function closing(results: readonly Labelled[]): Section[] {
  const tables = (Object.keys(suites) as (keyof typeof suites)[]).flatMap((suite): Part[] => {
    const table = measurementTable(suite, results);
    return table ? [html`<h3>${suites[suite]}</h3>\n`, table] : [];
  });
  return [
    {
      id: 'measurements',
      heading: 'Measurements',
      body: [
        html`<p class="caption">Times are of one run: the median, and from the tenth to the ninetieth percentile. The share of the floor is the time that the FLOPs and
bytes take at the ceilings, divided by the median; it can exceed 100 % where an operation is done with fewer FLOPs than its definition counts (convolutions of
enlarged images), or in a cache. Errors are relative L2 distances from a common reference, the largest of each engine.</p>`,
        tables.length > 0 ? tables : html`<p>Nothing was measured.</p>`,
      ],
    },
    {
      id: 'operations',
      heading: 'Operations',
      body: breakdownTable(results) ?? html`<p>No run was taken apart into its operations.</p>`,
    },
    { id: 'overheads', heading: 'Overheads', body: overheadTable(results) ?? html`<p>No overheads were measured.</p>` },
  ];
}

function pictureSection({ heading, caption, missing, results }: DrawnPicture): Section {
  const any = results.some(({ drawn }) => drawn.length > 0);
  const column = ({ label, drawn }: (typeof results)[number]): Markup => html`<div>
${results.length > 1 ? html`<h3>${label}</h3>` : undefined}
${drawn.length > 0 ? drawn.map(({ svg }) => html`<div class="plot">${new Markup(svg)}</div>\n`) : html`<p>${missing}</p>`}
</div>`;
  return {
    id: heading.toLowerCase().replace(/\W+/g, '-'),
    heading,
    body: any
      ? html`<figure><figcaption class="caption"><p>${caption}</p></figcaption><div class="beside">${results.map(column)}</div></figure>\n`
      : html`<p>${missing}</p>\n`,
  };
}
