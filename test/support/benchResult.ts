import { join } from 'node:path';
import type { Plot } from '../../bench/report/chart.js';
import { drawSvg, loadEcharts } from '../../bench/report/chart.js';
import type { Picture } from '../../bench/report/picture.js';
import { readForShowing } from '../../bench/report/read.js';
import type { BenchResult, Measurement } from '../../bench/result.js';

/** A result of the suite as a GPU may give it, with made-up numbers; some strings in it try to be markup. */
export const fixture = join(__dirname, '../bench/fixtures/result.json');

/** The fixture, with other parts in the place of some. */
export const resultWith = async (parts: Partial<BenchResult> = {}): Promise<BenchResult> => ({
  ...(await readForShowing(fixture)),
  ...parts,
});

/** The SVG of one plot of a picture. */
export async function drawn(picture: Picture, result: BenchResult, name: string): Promise<string> {
  const plots = picture.plots(result);
  const plot = plots.find((one) => one.name === name);
  if (!plot) throw new Error(`no '${name}' among ${plots.map((one: Plot) => one.name)}`);
  return drawSvg(await loadEcharts(), plot);
}

/** The measurement of this name. */
export function measured(result: BenchResult, name: string, dtype: 'f32' | 'bf16'): Measurement {
  const found = result.measurements.find((one) => one.name === name && one.dtype === dtype);
  if (!found) throw new Error(`no measurement '${name}' in ${dtype}`);
  return found;
}
