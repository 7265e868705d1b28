import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Browser, Page } from 'playwright-core';
import sharp from 'sharp';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { loadEcharts } from '../../bench/report/chart.js';
import { page as write } from '../../bench/report/page.js';
import { drawPictures, type Labelled } from '../../bench/report/pictures.js';
import type { Measurement } from '../../bench/result.js';
import { resultWith } from '../support/benchResult.js';
import { findBrowser, startBrowser } from '../support/browser.js';

const command = findBrowser();
let browser: Browser;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'report-'));
  if (command) browser = await startBrowser(command);
});
afterAll(async () => {
  await browser?.close();
  await rm(folder, { recursive: true, force: true });
});
beforeEach((context) => {
  if (!command) context.skip('no chromium or google-chrome is installed');
});

const one = async (): Promise<Labelled[]> => [{ label: 'result', result: await resultWith() }];
const two = async (): Promise<Labelled[]> => [
  ...(await one()),
  { label: '<i>second</i>', result: await resultWith({ quick: true, breakdowns: [], overheads: [] }) },
];
const none = async (): Promise<Labelled[]> => [
  {
    label: 'empty',
    result: await resultWith({ ceilings: [], measurements: [], breakdowns: [], overheads: [], machineAfter: {} }),
  },
];

/** Opens the report of these results; `noise` collects what the browser says and asks for. */
async function open(results: Labelled[], width: number, colorScheme: 'light' | 'dark' = 'light') {
  const file = join(folder, `report-${results.length}-${width}-${colorScheme}.html`);
  await writeFile(file, write(results, drawPictures(await loadEcharts(), results)));
  const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme });
  const noise: string[] = [];
  page.on('console', (message) => noise.push(message.text()));
  page.on('pageerror', (error) => noise.push(String(error)));
  page.on('request', (request) => request.url() !== pathToFileURL(file).href && noise.push(request.url()));
  await page.goto(pathToFileURL(file).href);
  return { page, noise };
}

/** What these lines of JavaScript give in the page. */
const ask = <T>(page: Page, lines: string): Promise<T> => page.evaluate<T>(`(() => { ${lines} })()`);

/** The pictures that a report of these results holds. */
const count = async (results: Labelled[]) =>
  drawPictures(await loadEcharts(), results).flatMap(({ results: all }) => all.flatMap(({ drawn }) => drawn)).length;

const findProblems = `
  const ids = [...document.querySelectorAll('[id]')].map(({ id }) => id);
  return [...document.querySelectorAll('svg')].flatMap((svg) => {
    const parsed = new DOMParser().parseFromString(new XMLSerializer().serializeToString(svg), 'image/svg+xml');
    const names = (svg.getAttribute('aria-labelledby') ?? '').split(' ');
    const said = names.map((id) => svg.querySelector('[id="' + id + '"]')?.textContent ?? '');
    return [
      ...(parsed.querySelector('parsererror') ? ['not XML'] : []),
      ...(svg.getAttribute('role') === 'img' && said.length === 2 && said.every((text) => text.length > 10) ? [] : ['no name']),
      ...(names.some((id) => ids.filter((other) => other === id).length !== 1) ? ['an identifier twice'] : []),
    ];
  });`;

/** How light the page, a picture's ground and its letters are, from 0 to 765. */
const findColours = `
  const svg = document.querySelector('svg');
  const lightness = (element, property) =>
    getComputedStyle(element)[property].match(/\\d+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0);
  return {
    page: lightness(document.body, 'backgroundColor'),
    ground: lightness(svg.querySelector('rect'), 'fill'),
    text: lightness(svg.querySelector('text'), 'fill'),
  };`;

describe('the report in a browser', () => {
  it.each([
    ['a phone', 400, 'light', one],
    ['a phone in the dark', 400, 'dark', two],
    ['a desk', 1280, 'light', one],
    ['a desk, several results', 1280, 'dark', two],
    ['a desk, an empty result', 1280, 'light', none],
  ] as const)('fits %s, says nothing, and asks for nothing', async (_, width, scheme, results) => {
    const { page, noise } = await open(await results(), width, scheme);
    expect(await ask(page, 'return document.documentElement.scrollWidth <= innerWidth')).toBe(true);
    const boxes = await Promise.all((await page.locator('svg').all()).map((svg) => svg.boundingBox()));
    expect(boxes).toHaveLength(await count(await results()));
    for (const box of boxes) expect(Math.min(box?.width ?? 0, box?.height ?? 0)).toBeGreaterThan(50);
    const { channels } = await sharp(await page.screenshot()).stats();
    expect(channels[0]?.stdev).toBeGreaterThan(5);
    expect(noise).toEqual([]);
    await page.close();
  });

  it('shows strings of the file as text', async () => {
    const { page } = await open(await two(), 1280);
    const shown = await page.locator('body').innerText();
    expect(shown).toContain('<script>window.owned = true</script> & "quoted" \ufffd </svg>');
    expect(shown).toContain('</style><script>window.owned = true</script> "quoted"');
    expect(shown).toContain('</td><script>window.owned = true</script>');
    expect(shown).toContain('<i>second</i>');
    expect((await page.locator('svg').allTextContents()).join()).toContain('<b>odd</b>');
    expect(await page.evaluate('window.owned')).toBeUndefined();
    expect(await page.locator('i, b, img').count()).toBe(0);
    await page.close();
  });

  it('draws pictures that are XML, named and described, each identifier once', async () => {
    const { page } = await open(await two(), 1280);
    expect(await ask(page, findProblems)).toEqual([]);
    await page.close();
  });

  it('sorts a table when a head is pressed, and turns it when it is pressed again', async () => {
    const { page } = await open(await one(), 1280);
    const table = page.locator('section#operations table');
    const column = (index: number) =>
      ask<string[]>(
        page,
        `return [...document.querySelectorAll('#operations tbody tr')].map(({ cells }) => cells[${index}].dataset.sort)`,
      );
    await table.getByRole('button', { name: 'time', exact: true }).click();
    const falling = (await column(4)).map(Number);
    expect(falling).toEqual([...falling].sort((a, b) => b - a));
    expect(falling[0]).toBeGreaterThan(falling.at(-1) as number);
    await table.getByRole('button', { name: 'time', exact: true }).click();
    expect((await column(4)).map(Number)).toEqual([...falling].sort((a, b) => a - b));
    await table.getByRole('button', { name: 'operations', exact: true }).click();
    const names = await column(0);
    expect(names).toEqual([...names].sort((a, b) => a.localeCompare(b)));
    expect(await table.locator('th[aria-sort]').count()).toBe(1);
    await page.close();
  });

  it('lets long tables and pictures scroll within the page, under heads that stay', async () => {
    const [{ label, result }] = (await one()) as [Labelled];
    const some = result.measurements.find(({ suite }) => suite === 'kernels') as Measurement;
    const measurements = Array.from({ length: 200 }, (_, i) => ({ ...some, name: `operation ${i}` }));
    const { page } = await open([{ label, result: { ...result, measurements } }], 1280);
    expect(await ask(page, 'return document.documentElement.scrollHeight')).toBeLessThan(10_000);
    const [top, head] = await ask<number[]>(
      page,
      `const box = [...document.querySelectorAll('#measurements .scroll')].find((one) => one.scrollHeight > 2 * one.clientHeight);
       box.scrollTop = 500;
       return [box, box.querySelector('thead th')].map((one) => one.getBoundingClientRect().top);`,
    );
    expect(Math.abs((head as number) - (top as number))).toBeLessThan(3);
    await page.close();
  });

  it('follows the surroundings into the dark, pictures too', async () => {
    const lightness = async (scheme: 'light' | 'dark') => {
      const { page } = await open(await one(), 1280, scheme);
      const colours = await ask<{ page: number; ground: number; text: number }>(page, findColours);
      await page.close();
      return colours;
    };
    const [light, dark] = [await lightness('light'), await lightness('dark')];
    expect(light.ground).toBe(light.page);
    expect(dark.ground).toBe(dark.page);
    expect(light.page - light.text).toBeGreaterThan(250);
    expect(dark.text - dark.page).toBeGreaterThan(250);
  });
});
