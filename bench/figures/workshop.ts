// Where the programs on real data find their device, images and what they have made before.
import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { OptionError, openDevice } from 'diffusion-native';
import { type FigureData, openFigureData } from './data.js';
import { full, quick } from './settings.js';
import type { Workshop } from './train.js';

export const root = join(__dirname, '..', '..', '..');

/** What all of the programs are given. */
export interface CommonValues {
  data?: string | undefined;
  quick: boolean;
  output?: string | undefined;
  device: string;
  threads?: number | undefined;
  /** Of a point, instead of the settings' number. */
  samples?: number | undefined;
}

/**
 * Networks and samples lie below out/figures, or below `output`, in a folder of their own for each data set and each change of the
 * settings that they depend on; a second run goes on where the first one ended.
 */
export async function openWorkshop(values: CommonValues): Promise<{ workshop: Workshop; data: FigureData }> {
  const began = performance.now();
  const usual = values.quick ? quick : full;
  const { samples = usual.samples, threads } = values;
  const settings = { ...usual, samples };
  if (samples < 2 * usual.groups) throw new OptionError(`--samples must be at least ${2 * usual.groups}, got ${samples}`);
  const data = await openFigureData(settings.size, values.data);
  const device = await openDevice(values.device, { threads });
  const { size, network, training, classifier, T, batchSize } = settings;
  const made = { data: await data.train.fingerprint(), size, network, training, classifier, T, batchSize };
  const hash = createHash('sha256').update(JSON.stringify(made)).digest('hex').slice(0, 8);
  const folder = join(values.output ?? join(root, 'out', 'figures'), `${data.name}${values.quick ? '-quick' : ''}-${hash}`);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'settings.json'), `${JSON.stringify(made, null, 2)}\n`);
  const log = (line: string) => console.log(`${((performance.now() - began) / 1000).toFixed(0).padStart(5)} s  ${line}`);
  return { workshop: { device, data: data.train, settings, folder, log }, data };
}
