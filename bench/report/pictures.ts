// All pictures of a report, drawn, and their files.
import { join } from 'node:path';
import { writeFile } from '../output.js';
import type { BenchResult } from '../result.js';
import { breakdown } from './breakdown.js';
import { drawPng, drawSvg, type Echarts, type Plot } from './chart.js';
import { slug } from './format.js';
import { latency } from './latency.js';
import type { Picture } from './picture.js';
import { ratios } from './ratios.js';
import { roofline } from './roofline.js';
import { throughput } from './throughput.js';

/** A result file and what the report calls it. */
export interface Labelled {
  label: string;
  result: BenchResult;
}

/** A picture of each result, or none where a result holds nothing for it. */
export interface DrawnPicture extends Pick<Picture, 'heading' | 'caption' | 'missing'> {
  results: readonly { label: string; drawn: readonly { name: string; svg: string }[] }[];
}

export const pictures: readonly Picture[] = [ratios, throughput, latency, breakdown, roofline];

/** Draws everything. Names tell results apart where there are several. */
export function drawPictures(echarts: Echarts, results: readonly Labelled[]): DrawnPicture[] {
  const taken = new Set<string>();
  const draw = (plot: Plot, label: string) => {
    const name = unique(results.length > 1 ? `${slug(label)}-${plot.name}` : plot.name, taken);
    return { name, svg: drawSvg(echarts, { ...plot, name }) };
  };
  return pictures.map(({ plots, heading, caption, missing }) => ({
    ...{ heading, caption, missing },
    results: results.map(({ label, result }) => ({ label, drawn: plots(result).map((plot) => draw(plot, label)) })),
  }));
}

/** The name, with a number where it is taken. */
export function unique(name: string, taken: Set<string>): string {
  let free = name;
  for (let i = 2; taken.has(free); i++) free = `${name}-${i}`;
  taken.add(free);
  return free;
}

/**
 * Writes each picture as SVG and PNG into a folder, which is made; gives their paths.
 * @throws FileFormatError when a file cannot be written.
 */
export async function writePictures(folder: string, drawn: readonly DrawnPicture[]): Promise<string[]> {
  const paths: string[] = [];
  for (const { name, svg } of drawn.flatMap(({ results }) => results.flatMap((one) => one.drawn))) {
    paths.push(join(folder, `${name}.svg`), join(folder, `${name}.png`));
    await writeFile(paths.at(-2) as string, svg);
    await writeFile(paths.at(-1) as string, await drawPng(svg));
  }
  return paths;
}
