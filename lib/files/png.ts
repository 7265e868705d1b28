import { dirname } from 'node:path';
import * as v from 'valibot';
import { FileFormatError, NonFiniteError, ShapeError } from '../errors.js';
import { checkPath, integer, parseOptions, show, string } from '../options.js';
import { forEachInSlices } from '../slices.js';
import { makeFolders, writeFileAtomic } from './atomic.js';
import { parseColour } from './colour.js';
import { loadSharp } from './sharp.js';

type Channels = 1 | 3 | 4;

/** Options of `saveImageGrid` and `Tensor.savePng`. */
export interface ImageGridOptions {
  /** Pictures a row. Default ⌈√n⌉; no more than n. */
  columns?: number;
  /** Each value becomes a square of this many pixels a side (nearest neighbour). Default 1. */
  scale?: number;
  /** Pixels between two pictures; there is no border. Default 2. */
  gap?: number;
  /** CSS colour of gaps and empty places. Default `'white'`. */
  background?: string;
}

const schema = v.strictObject({
  columns: v.optional(integer(1)),
  scale: v.optional(integer(1, 1024), 1),
  gap: v.optional(integer(0, 1024), 2),
  background: v.optional(string(), 'white'),
});

/**
 * A PNG file's bytes from u8 `pixels` `[height, width, channels]`: grey, RGB or RGBA.
 * @throws ShapeError when sizes or channels do not fit.
 */
export async function encodePng(pixels: Uint8Array, height: number, width: number, channels: number): Promise<Buffer> {
  requirePicture('encodePng', [height, width, channels], pixels.length, height * width * channels);
  const sharp = await loadSharp();
  return sharp(pixels, { raw: { width, height, channels: channels as Channels } })
    .toColourspace(channels === 1 ? 'b-w' : 'srgb')
    .png()
    .toBuffer();
}

/**
 * Writes a batch of pictures as one PNG file, row by row from the upper left, replacing the file in one step. A value x in
 * [-1, 1] becomes round(255·(x/2 + 1/2)), clamped. Missing folders are made.
 * @param values NHWC `shape` `[n, height, width, channels]` with 1, 3 or 4 channels
 * @throws ShapeError, OptionError; NonFiniteError naming the picture that holds NaN or ±Infinity; FileFormatError naming `path`
 * when it cannot be written.
 */
export async function saveImageGrid(
  path: string,
  values: Float32Array,
  shape: readonly number[],
  options: ImageGridOptions = {},
): Promise<void> {
  const owner = 'savePng';
  checkPath(owner, 'path', path);
  const { scale, gap, background, ...chosen } = parseOptions(owner, schema, options);
  if (shape.length !== 4) throw new ShapeError(`${owner}: shape must be [n, height, width, channels], got ${show(shape)}`);
  const [count, height, width, channels] = shape as [number, number, number, number];
  requirePicture(owner, [count, height, width, channels], values.length, count * height * width * channels);
  const columns = Math.min(chosen.columns ?? Math.ceil(Math.sqrt(count)), count);
  const rows = Math.ceil(count / columns);
  const gridHeight = rows * height * scale + (rows - 1) * gap;
  const gridWidth = columns * width * scale + (columns - 1) * gap;
  const colour = await parseColour(owner, background, channels as Channels);
  const grid = new Uint8Array(gridHeight * gridWidth * channels);
  const emptyRow = new Uint8Array(gridWidth * channels).map((_, at) => colour[at % channels] as number);
  await forEachInSlices(gridHeight, (y) => grid.set(emptyRow, y * emptyRow.length));

  const rowBytes = width * scale * channels;
  const drawRow = (index: number) => {
    const picture = Math.floor(index / height);
    const top = Math.floor(picture / columns) * (height * scale + gap) + (index % height) * scale;
    const left = (picture % columns) * (width * scale + gap);
    const start = (top * gridWidth + left) * channels;
    let to = start;
    for (let x = 0; x < width; x++) {
      for (let copy = 0; copy < scale; copy++) {
        for (let channel = 0; channel < channels; channel++) {
          const value = values[(index * width + x) * channels + channel] as number;
          if (!Number.isFinite(value)) {
            const place = `row ${index % height}, column ${x}, channel ${channel}`;
            throw new NonFiniteError(`${owner}: cannot write ${path}: picture ${picture} has ${value} at ${place}`);
          }
          grid[to++] = toByte(value);
        }
      }
    }
    for (let copy = 1; copy < scale; copy++) grid.copyWithin(start + copy * gridWidth * channels, start, start + rowBytes);
  };
  await forEachInSlices(count * height, drawRow);

  const png = await encodePng(grid, gridHeight, gridWidth, channels);
  try {
    await makeFolders(dirname(path));
  } catch (cause) {
    throw new FileFormatError(`${owner}: cannot write ${path}: ${(cause as Error).message}`, { cause });
  }
  await writeFileAtomic(path, png);
}

const toByte = (value: number) => Math.round(Math.min(1, Math.max(0, value / 2 + 0.5)) * 255);

function requirePicture(owner: string, shape: readonly number[], got: number, expected: number): void {
  if (!shape.every((extent) => Number.isInteger(extent) && extent > 0)) {
    throw new ShapeError(`${owner}: extents must be positive integers, got ${show(shape)}`);
  }
  const channels = shape.at(-1);
  if (channels !== 1 && channels !== 3 && channels !== 4) {
    throw new ShapeError(`${owner}: a picture has 1, 3 or 4 channels, got ${channels}`);
  }
  if (got !== expected) throw new ShapeError(`${owner}: shape ${show(shape)} needs ${expected} values, got ${got}`);
}
