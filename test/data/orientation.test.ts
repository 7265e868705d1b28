import sharp, { type Sharp } from 'sharp';
import { describe, expect, it } from 'vitest';
import type { FolderOptions } from '../../lib/data/folder.js';
import { ImageDataset } from '../../lib/index.js';
import { imageFolders } from '../support/imageFolder.js';

const folderOf = imageFolders();

/** The pixels that a file becomes. */
async function decoded(name: string, file: Uint8Array, options: FolderOptions): Promise<number[][]> {
  const data = await ImageDataset.folder(await folderOf({ [name]: file }), options);
  const { images, channels } = data;
  return Array.from({ length: images.length / channels }, (_, i) => [...images.subarray(i * channels, (i + 1) * channels)]);
}

/** Which corner of a picture that is red upper left, lime upper right, blue lower left, white lower right comes where. */
const turned: Record<number, string> = {
  1: 'rlbw',
  2: 'lrwb',
  3: 'wblr',
  4: 'bwrl',
  5: 'rblw',
  6: 'brwl',
  7: 'wlbr',
  8: 'lwrb',
};

describe.each(Object.entries(turned))('EXIF orientation %s', (orientation, corners) => {
  const side = 16;
  const upright = async (): Promise<Sharp> => {
    const square = { width: side, height: side, channels: 3 } as const;
    const patch = (background: string) =>
      sharp({ create: { ...square, background } })
        .png()
        .toBuffer();
    const places = { lime: [side, 0], blue: [0, side], white: [side, side] } as const;
    const patches = Object.entries(places).map(async ([name, [left, top]]) => ({ input: await patch(name), left, top }));
    const red = sharp({ create: { ...square, width: 2 * side, height: 2 * side, background: 'red' } });
    return red.composite(await Promise.all(patches));
  };

  it.each(['jpeg', 'webp'] as const)('is applied to %s files', async (format) => {
    const picture = (await upright()).withMetadata({ orientation: Number(orientation) });
    const file = await picture.toFormat(format, { quality: 100 }).toBuffer();
    const pixels = await decoded(`a.${format}`, file, { size: [2 * side, 2 * side] });
    const name = ([r, g, b]: number[]) =>
      (r as number) > 128 ? ((b as number) > 128 ? 'w' : 'r') : (g as number) > 128 ? 'l' : 'b';
    const at = (y: number, x: number) => name(pixels[y * 2 * side + x] as number[]);
    const [near, far] = [side / 2, side + side / 2];
    expect([at(near, near), at(near, far), at(far, near), at(far, far)].join('')).toBe(corners);
  });
});

it('a turned picture is cropped at the centre of what one sees', async () => {
  // Stored 12×4, seen 4×12: from above red, lime, blue.
  const stripe = (background: string) =>
    sharp({ create: { width: 4, height: 4, channels: 3, background } })
      .png()
      .toBuffer();
  const [lime, blue] = await Promise.all([stripe('lime'), stripe('blue')]);
  const stored = sharp({ create: { width: 12, height: 4, channels: 3, background: 'red' } }).composite([
    { input: lime, left: 4, top: 0 },
    { input: blue, left: 8, top: 0 },
  ]);
  const file = await stored.withMetadata({ orientation: 6 }).png().toBuffer();
  const pixels = await decoded('a.png', file, { size: 4 });
  expect(pixels).toHaveLength(16);
  expect(pixels.every((pixel) => pixel.join() === '0,255,0')).toBe(true);
});
