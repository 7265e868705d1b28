import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import type { FolderOptions } from '../../lib/data/folder.js';
import { ImageDataset } from '../../lib/index.js';
import { imageFolders } from '../support/imageFolder.js';
import { type RawPng, rawPng } from '../support/rawPng.js';

const folderOf = imageFolders();

/** The pixels that a file becomes. */
async function decoded(name: string, file: Uint8Array, options: FolderOptions): Promise<number[][]> {
  const data = await ImageDataset.folder(await folderOf({ [name]: file }), options);
  const { images, channels } = data;
  return Array.from({ length: images.length / channels }, (_, i) => [...images.subarray(i * channels, (i + 1) * channels)]);
}

const background = 'rgb(0 128 255)';
const under = [0, 128, 255];
const grey = (level: number) => [level, level, level];
/** Wide 16-bit values of 8-bit ones. */
const wide = (...levels: number[]) => levels.flatMap((level) => [level, level]);

interface Kind extends Pick<RawPng, 'depth' | 'colour' | 'palette' | 'transparency'> {
  name: string;
  row: number[];
  /** On the background, one pixel after the other; a level means grey. */
  expected: (number[] | number)[];
  /** With alpha as it is. */
  alpha?: number[];
}

const colours = [255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9];
const half = (level: number[]) => level.map((value, c) => (value * 128 + (under[c] as number) * 127) / 255);
const kinds: Kind[] = [
  { name: '1-bit grey', depth: 1, colour: 'grey', row: [0b01010000], expected: [0, 255, 0, 255] },
  { name: '2-bit grey', depth: 2, colour: 'grey', row: [0b00011011], expected: [0, 85, 170, 255] },
  { name: '4-bit grey', depth: 4, colour: 'grey', row: [0x05, 0xaf], expected: [0, 85, 170, 255] },
  { name: '8-bit grey', depth: 8, colour: 'grey', row: [0, 77, 200, 255], expected: [0, 77, 200, 255] },
  { name: '16-bit grey', depth: 16, colour: 'grey', row: wide(0, 77, 200, 255), expected: [0, 77, 200, 255] },
  {
    name: '8-bit grey with alpha',
    depth: 8,
    colour: 'greyAlpha',
    row: [77, 255, 77, 0, 200, 128, 255, 255],
    expected: [77, under, half(grey(200)), 255],
    alpha: [255, 0, 128, 255],
  },
  {
    name: '16-bit grey with alpha',
    depth: 16,
    colour: 'greyAlpha',
    row: wide(77, 255, 77, 0, 200, 128, 255, 255),
    expected: [77, under, half(grey(200)), 255],
    alpha: [255, 0, 128, 255],
  },
  {
    name: 'grey with a transparent level',
    depth: 8,
    colour: 'grey',
    transparency: [0, 77],
    row: [0, 77, 200, 255],
    expected: [0, under, 200, 255],
    alpha: [255, 0, 255, 255],
  },
  {
    name: '1-bit palette',
    depth: 1,
    colour: 'palette',
    palette: colours.slice(0, 6),
    row: [0b01100000],
    expected: [colours.slice(0, 3), colours.slice(3, 6), colours.slice(3, 6), colours.slice(0, 3)],
  },
  {
    name: 'palette with transparency',
    depth: 2,
    colour: 'palette',
    palette: colours,
    transparency: [255, 0, 128],
    row: [0b00011011],
    expected: [[255, 0, 0], under, half([0, 0, 255]), 9],
    alpha: [255, 0, 128, 255],
  },
  {
    name: '16-bit RGB',
    depth: 16,
    colour: 'rgb',
    row: wide(255, 0, 0, 77, 77, 77, 0, 255, 0, 1, 2, 3),
    expected: [[255, 0, 0], 77, [0, 255, 0], [1, 2, 3]],
  },
  {
    name: '8-bit RGB with alpha',
    depth: 8,
    colour: 'rgba',
    row: [255, 0, 0, 255, 77, 77, 77, 0, 0, 255, 0, 128, 1, 2, 3, 255],
    expected: [[255, 0, 0], under, half([0, 255, 0]), [1, 2, 3]],
    alpha: [255, 0, 128, 255],
  },
  {
    name: '16-bit RGB with alpha',
    depth: 16,
    colour: 'rgba',
    row: wide(255, 0, 0, 255, 77, 77, 77, 0, 0, 255, 0, 128, 1, 2, 3, 255),
    expected: [[255, 0, 0], under, half([0, 255, 0]), [1, 2, 3]],
    alpha: [255, 0, 128, 255],
  },
];

describe.each(kinds)('a PNG file: $name', ({ row, expected, alpha, ...kind }) => {
  const file = rawPng({ ...kind, width: 4, height: 1, rows: [row] });
  const colour = expected.map((value) => (typeof value === 'number' ? grey(value) : value));
  /** Composited values are cut to whole ones; all others are exact. */
  const near = (a: number[], b: number[]) => expect(Math.max(...a.map((x, i) => Math.abs(x - (b[i] as number))))).toBeLessThan(1);

  it('becomes RGB on the background', async () => {
    const pixels = await decoded('a.png', file, { size: [1, 4], background });
    for (const [i, pixel] of pixels.entries()) near(pixel, colour[i] as number[]);
  });

  it('becomes grey after it was composited', async () => {
    const pixels = (await decoded('a.png', file, { size: [1, 4], background, channels: 1 })).flat();
    for (const [i, level] of pixels.entries()) {
      const rgb = colour[i] as number[];
      if (rgb.every((value) => value === rgb[0])) expect(level).toBe(rgb[0]);
      // Luminance in linear light, Rec. 709, back in the curve of sRGB; within two levels for what is cut on the way.
      else expect(Math.abs(level - luminance(rgb))).toBeLessThanOrEqual(2);
    }
  });

  it('keeps alpha with four channels', async () => {
    const pixels = await decoded('a.png', file, { size: [1, 4], background, channels: 4 });
    expect(pixels.map((pixel) => pixel[3])).toEqual(alpha ?? [255, 255, 255, 255]);
  });
});

/** The grey level of an sRGB colour (IEC 61966-2-1). */
function luminance(rgb: number[]): number {
  const [r, g, b] = rgb.map((v) => (v <= 10.31475 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4)) as [
    number,
    number,
    number,
  ];
  const y = 0.2126 * r + 0.7152 * g + 0.0722 * b;
  return 255 * (y <= 0.0031308 ? 12.92 * y : 1.055 * y ** (1 / 2.4) - 0.055);
}

it('every grey level is itself in grey and in RGB', async () => {
  const levels = Array.from({ length: 256 }, (_, level) => level);
  const file = rawPng({ width: 256, height: 1, depth: 8, colour: 'grey', rows: [levels] });
  expect((await decoded('a.png', file, { size: [1, 256], channels: 1 })).flat()).toEqual(levels);
  expect(await decoded('a.png', file, { size: [1, 256] })).toEqual(levels.map(grey));
});

it('a 1-bit TIFF file and a CMYK one are read', async () => {
  const row = rawPng({ width: 4, height: 1, depth: 8, colour: 'grey', rows: [[0, 255, 255, 0]] });
  const tiff = await sharp(row).tiff({ bitdepth: 1, compression: 'deflate' }).toBuffer();
  expect(await decoded('a.tif', tiff, { size: [1, 4] })).toEqual([0, 255, 255, 0].map(grey));
  const cmyk = await sharp({ create: { width: 4, height: 4, channels: 3, background: 'white' } })
    .toColourspace('cmyk')
    .jpeg()
    .toBuffer();
  expect((await sharp(cmyk).metadata()).space).toBe('cmyk');
  for (const value of (await decoded('a.jpg', cmyk, { size: 4 })).flat()) expect(value).toBeGreaterThan(250);
});

it('the bars beside a grey picture have the colour of the background', async () => {
  const file = rawPng({ width: 2, height: 1, depth: 8, colour: 'grey', rows: [[77, 77]] });
  const pixels = await decoded('a.png', file, { size: 4, fit: 'contain', background });
  expect([pixels[0], pixels[5]]).toEqual([under, grey(77)]);
});
