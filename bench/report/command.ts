import { basename, extname } from 'node:path';
import type { Command } from 'commander';
import { type JsonTarget, say, writeResult } from '#lib/cli/output.js';
import { jsonOption } from '#lib/cli/values.js';
import { OptionError } from '#lib/errors.js';
import { writeFile } from '../output.js';
import { hasFonts, loadEcharts } from './chart.js';
import { page } from './page.js';
import { drawPictures, type Labelled, unique, writePictures } from './pictures.js';
import { readForShowing } from './read.js';

/** What `report` is given. */
export interface ReportArguments {
  output: string;
  pictures?: string;
  json?: JsonTarget;
}

/** `diffusion-native report` */
export function addReportCommand(program: Command): void {
  program
    .command('report')
    .description('turn results of the bench suite into one HTML page with tables and pictures; several stand side by side')
    .argument('<results...>', "result files that 'bench' wrote")
    .option('-o, --output <file>', 'the page', 'report.html')
    .option('--pictures <folder>', 'write each picture there too, as SVG and as PNG')
    .addOption(jsonOption())
    .action(report);
}

async function report(paths: readonly string[], { output, pictures, json }: ReportArguments): Promise<void> {
  if (paths.includes(output)) throw new OptionError(`report: the page would replace the result '${output}'`);
  const echarts = await loadEcharts();
  const results = await readAll(paths);
  const drawn = drawPictures(echarts, results);
  await writeFile(output, page(results, drawn));
  const files = pictures === undefined ? [] : await writePictures(pictures, drawn);
  if (files.length > 0 && !(await hasFonts()))
    say(json, 'The PNG files lack their text: this system has no fonts. Install some: apt-get install fonts-dejavu-core');
  const leftOut = drawn.flatMap(({ missing, results: all }) =>
    all.filter((one) => one.drawn.length === 0).map(({ label }) => (results.length > 1 ? `${label}: ${missing}` : missing)),
  );
  for (const sentence of leftOut) say(json, sentence);
  const count = drawn.flatMap(({ results: all }) => all.flatMap((one) => one.drawn)).length;
  say(json, `${output}: ${count} pictures${pictures === undefined ? '' : `, also in ${pictures}`}`);
  await writeResult(json, { report: output, pictures: files, leftOut });
}

/** The results, each called by its file's name. */
async function readAll(paths: readonly string[]): Promise<Labelled[]> {
  const taken = new Set<string>();
  const results: Labelled[] = [];
  for (const path of paths)
    results.push({ label: unique(basename(path, extname(path)), taken), result: await readForShowing(path) });
  return results;
}
