// Samples of the figures' networks, each batch drawn once and then read from its file.
import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { GaussianDiffusion, NoiseSchedule, Sampler, type UNet, type Variance } from 'diffusion-native';
import { nameOf, type Objective, scheduleOf, type Workshop } from './train.js';

/** How samples are drawn. */
export interface Drawing {
  objective: Objective;
  variance: Variance;
  /** Steps of the respaced process before any are left out. */
  steps: number;
  /** The share of the reverse process, from its noisiest step on, that is left out; 0. */
  skipped?: number;
}

/** Of one seed all samples begin with the same noise, whatever draws them, so that differences are those of the drawing. */
const seed = 2021;

/** The process that draws them: the schedule without its last part, respaced. */
export function processOf(
  { device, settings: { T } }: Workshop,
  { objective, variance, steps, skipped = 0 }: Drawing,
): GaussianDiffusion {
  const whole = scheduleOf(objective, T);
  const kept = 1 - skipped;
  const cut = skipped === 0 ? whole : NoiseSchedule.fromBetas(whole.betas.slice(0, Math.round(kept * T)));
  return new GaussianDiffusion(device, cut.respace(`${Math.round(kept * steps)}`), { variance });
}

const fileOf = ({ objective, variance, steps, skipped = 0 }: Drawing, first: number) =>
  [nameOf(objective), variance, `${steps}steps`, ...(skipped ? [`${Math.round(100 * skipped)}skipped`] : []), first].join('-');

/** u8 images [count, h, w, c]; `model` is asked for where there is something to draw. */
export async function drawn(
  workshop: Workshop,
  drawing: Drawing,
  count: number,
  model: () => Promise<UNet>,
): Promise<Uint8Array> {
  const { settings, data, folder, log } = workshop;
  const pixels = data.height * data.width * data.channels;
  const images = new Uint8Array(count * pixels);
  const samples = join(folder, 'samples');
  await mkdir(samples, { recursive: true });
  for (let first = 0; first < count; first += settings.batchSize) {
    const size = Math.min(settings.batchSize, count - first);
    const path = join(samples, `${fileOf(drawing, first)}.u8`);
    if (!existsSync(path) || (await readFile(path)).length !== size * pixels) {
      const started = performance.now();
      using diffusion = processOf(workshop, drawing);
      using sampler = new Sampler(diffusion, await model());
      using x = await sampler.sample({ count: size, first, seed, batchSize: size });
      await writeFile(`${path}.new`, quantised((await x.read()) as Float32Array));
      await rename(`${path}.new`, path);
      log(`${fileOf(drawing, first)}: ${((performance.now() - started) / 1000).toFixed(0)} s`);
    }
    images.set(await readFile(path), first * pixels);
  }
  return images;
}

/** [-1, 1] → u8, as images are saved. */
const quantised = (values: Float32Array): Uint8Array =>
  Uint8Array.from(values, (value) => Math.min(255, Math.max(0, Math.round((value + 1) * 127.5))));
