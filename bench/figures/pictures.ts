// The figures themselves: strips, charts and a grid of samples, each as SVG and PNG.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Device, GaussianDiffusion } from 'diffusion-native';
import { blocksSvg, type Chart, chartSvg, gridPng, pngOf } from './chart.js';
import { type Curve, mainMeasure } from './claims.js';
import { unit } from './classifier.js';
import type { FigureData } from './data.js';
import type { Quality } from './quality.js';
import type { Settings } from './settings.js';
import { scheduleOf } from './train.js';

/** What the charts' y axis is. */
const axisOf = (quality: Quality) =>
  quality.frechet ? 'Fréchet distance of whitened features' : 'sliced Wasserstein distance of pixels';

async function save(folder: string, name: string, svg: string): Promise<string[]> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, `${name}.svg`), svg);
  await writeFile(join(folder, `${name}.png`), await pngOf(svg));
  return [`${name}.svg`, `${name}.png`];
}

/** [-1, 1] → 0 … 15: noise does not compress, and finer levels would not show in it. */
const level = (value: number) => Math.min(15, Math.max(0, Math.round((value + 1) * 7.5)));

/** Rows are images, columns equally spaced steps; the noise of an image is the same in all of them. */
export async function saveStrips(folder: string, device: Device, { shown }: FigureData, { T }: Settings): Promise<string[]> {
  const [rows, columns, scale] = [3, 11, 2];
  const size = [shown.height, shown.width, shown.channels] as const;
  const pixels = size[0] * size[1] * size[2];
  const starts = unit(shown.images.subarray(0, rows * pixels));
  const steps = Array.from({ length: columns }, (_, i) => Math.round((i * (T - 1)) / (columns - 1)));
  const strip = async (schedule: 'linear' | 'cosine') => {
    using diffusion = new GaussianDiffusion(device, scheduleOf({ schedule }, T));
    using x0 = device.tensor(starts, [rows, ...size]);
    const images = new Uint8Array(rows * columns * pixels);
    for (const [column, step] of steps.entries()) {
      const { xt, noise } = diffusion.qSample(x0, new Int32Array(rows).fill(step), { seed: 3 });
      const values = (await xt.read()) as Float32Array;
      for (let row = 0; row < rows; row++)
        for (let i = 0; i < pixels; i++)
          images[(row * columns + column) * pixels + i] = 17 * level(values[row * pixels + i] as number);
      xt.dispose();
      noise.dispose();
    }
    return { title: schedule, ...(await gridPng(images, size, columns, scale)) };
  };
  const svg = blocksSvg(
    [await strip('linear'), await strip('cosine')],
    steps.map((step) => `t = ${step + 1}`),
  );
  return save(folder, 'noise-strips', svg);
}

/** Samples of one network, sixteen a row. */
export async function saveSamples(
  folder: string,
  images: Uint8Array,
  size: readonly [number, number, number],
  title: string,
): Promise<string[]> {
  const columns = 16;
  const pixels = size[0] * size[1] * size[2];
  const rows = Math.min(4, Math.floor(images.length / pixels / columns));
  const grid = await gridPng(images.subarray(0, rows * columns * pixels), size, columns, 2);
  return save(folder, 'samples', blocksSvg([{ title, ...grid }], []));
}

const curvesOf = (curves: Curve[]): Chart['curves'] =>
  curves.map(({ name, points }) => ({
    name,
    points: points.map(({ x, quality }) => ({ x, y: mainMeasure(quality).value, error: mainMeasure(quality).error })),
  }));

export function saveSkipping(folder: string, curves: Curve[], floor: Quality, subtitle: string): Promise<string[]> {
  const svg = chartSvg({
    title: 'Leaving out the first part of the reverse process',
    subtitle,
    x: { name: 'share of the reverse steps left out', ticks: (value) => `${Math.round(100 * value)} %` },
    y: { name: axisOf(floor) },
    curves: curvesOf(curves),
    floor: { name: 'images not learned from', value: mainMeasure(floor).value },
  });
  return save(folder, 'skipped-steps', svg);
}

export function saveSteps(folder: string, curves: Curve[], floor: Quality, subtitle: string): Promise<string[]> {
  const svg = chartSvg({
    title: 'Fewer sampling steps',
    subtitle,
    x: { name: 'sampling steps', even: true },
    y: { name: axisOf(floor) },
    curves: curvesOf(curves),
    floor: { name: 'images not learned from', value: mainMeasure(floor).value },
  });
  return save(folder, 'sampling-steps', svg);
}
