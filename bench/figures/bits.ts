// The variational bound of images one by one, each batch measured once and then read from its file.
import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { GaussianDiffusion, type ImageDataset, type UNet, type Variance } from 'diffusion-native';
import { spread } from './data.js';
import { nameOf, type Objective, scheduleOf, type Workshop } from './train.js';

/** Of each image, in bits/dim: the whole bound, and the parts of the prior and of the last step. */
export interface Bits {
  total: number[];
  prior: number[];
  decoder: number[];
}

const together = 64;

/**
 * The bound of `count` of these images, spread evenly, over all steps of the process, by `GaussianDiffusion.bitsPerDimension`, with the
 * same noise whatever the model and the variance.
 */
export async function bitsOf(
  workshop: Workshop,
  images: ImageDataset,
  count: number,
  { objective, variance }: { objective: Objective; variance: Variance },
  model: () => Promise<UNet>,
): Promise<Bits> {
  const { device, settings, folder, log } = workshop;
  const pixels = images.images.length / images.length;
  const chosen = spread(images, count);
  const bits: Bits = { total: [], prior: [], decoder: [] };
  await mkdir(join(folder, 'bits'), { recursive: true });
  for (let first = 0; first < count; first += together) {
    const size = Math.min(together, count - first);
    const path = join(folder, 'bits', `${nameOf(objective)}-${variance}-${count}-${first}.json`);
    if (!existsSync(path)) {
      using diffusion = new GaussianDiffusion(device, scheduleOf(objective, settings.T), { variance });
      using x0 = device.tensor(chosen.slice(first * pixels, (first + size) * pixels), [size, ...images.shape]);
      const found = await diffusion.bitsPerDimension(await model(), x0, { seed: 2021, firstSample: first });
      const decoder = found.vb.map((terms) => terms.at(-1) as number);
      const measured: Bits = { total: [...found.totalBpd], prior: [...found.priorBpd], decoder };
      await writeFile(`${path}.new`, JSON.stringify(measured));
      await rename(`${path}.new`, path);
      log(`${nameOf(objective)}, ${variance}: ${first + size} of ${count} images`);
    }
    const measured = JSON.parse(await readFile(path, 'utf8')) as Bits;
    for (const name of ['total', 'prior', 'decoder'] as const) bits[name].push(...measured[name]);
  }
  return bits;
}
