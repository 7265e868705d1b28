import { readFile } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import * as v from 'valibot';
import { DatasetError, FileFormatError } from '../errors.js';
import { loadSharp } from '../files/sharp.js';
import { parseOptions, signal } from '../options.js';
import { forEachInSlices } from '../slices.js';
import { forEachConcurrent, type LoadingOptions } from './concurrent.js';
import { allocateImages, type ImageSize, type Images, imageSize, progress, reason, requirePath } from './images.js';

/** Options of `ImageDataset.idx`. */
export interface IdxOptions extends LoadingOptions {
  /**
   * Side in pixels, or `[height, width]`. Where neither side shrinks, images are centred on zeros (28×28 MNIST becomes 32×32
   * with its pixels untouched); otherwise they are resampled (Lanczos). Default: as stored.
   */
  size?: ImageSize;
}

const schema = v.strictObject({
  size: v.optional(imageSize()),
  onProgress: v.optional(progress()),
  signal: v.optional(signal()),
});

const owner = 'ImageDataset.idx';
const unsignedImages = 0x00000803;
const unsignedLabels = 0x00000801;

/**
 * Reads grey u8 images, and u8 labels if their path is given, from IDX files (the format of MNIST,
 * http://yann.lecun.com/exdb/mnist), plain or gzip.
 * @throws FileFormatError naming the file: missing, wrong magic number, truncated, trailing bytes, broken gzip.
 * @throws DatasetError: no images, or not one label an image.
 */
export async function readIdx(imagesPath: string, labelsPath?: string, options: IdxOptions = {}): Promise<Images> {
  requirePath(owner, 'imagesPath', imagesPath);
  if (labelsPath !== undefined) requirePath(owner, 'labelsPath', labelsPath);
  const { size, ...loading } = parseOptions(owner, schema, options);
  const file = await readIdxFile(imagesPath, unsignedImages, 3);
  const [count, height, width] = file.extents as [number, number, number];
  if (count * height * width === 0) throw new DatasetError(`${owner}: ${imagesPath} holds no images (${file.extents.join('×')})`);
  let labels: Int32Array | null = null;
  if (labelsPath !== undefined) {
    const { values, extents } = await readIdxFile(labelsPath, unsignedLabels, 1);
    if (extents[0] !== count) {
      throw new DatasetError(`${owner}: ${labelsPath} holds ${extents[0]} labels, ${imagesPath} ${count} images`);
    }
    labels = new Int32Array(values);
  }
  loading.signal?.throwIfAborted();
  const stored: Images = { images: file.values, shape: [count, height, width, 1], labels, classNames: null };
  if (!size || (size[0] === height && size[1] === width)) return stored;
  return size[0] >= height && size[1] >= width ? pad(stored, size, loading) : resample(stored, size, loading);
}

/** Centres images on zeros. */
async function pad(stored: Images, [height, width]: [number, number], { signal }: LoadingOptions): Promise<Images> {
  const [count, rows, columns] = stored.shape;
  const shape = [count, height, width, 1] as const;
  const images = allocateImages(owner, shape);
  const top = (height - rows) >> 1;
  const left = (width - columns) >> 1;
  const copyImage = (index: number) => {
    for (let row = 0; row < rows; row++) {
      const from = (index * rows + row) * columns;
      images.set(stored.images.subarray(from, from + columns), (index * height + top + row) * width + left);
    }
  };
  await forEachInSlices(count, copyImage, signal);
  return { ...stored, images, shape };
}

/** Images of more pixels than this, before or after, are resampled by themselves: mixing three would hold up the event loop. */
const mixedPixels = 1 << 14;

/**
 * Resamples images, small ones three at a time as the colours of one picture, which are computed apart: what libvips does for each
 * picture takes longer than the arithmetic.
 */
async function resample(
  stored: Images,
  [height, width]: [number, number],
  { onProgress, signal }: LoadingOptions,
): Promise<Images> {
  const [count, rows, columns] = stored.shape;
  const shape = [count, height, width, 1] as const;
  const images = allocateImages(owner, shape);
  const sharp = await loadSharp();
  const [before, after] = [rows * columns, height * width];
  const channels = Math.max(before, after) <= mixedPixels ? 3 : 1;
  let done = 0;
  const resize = async (group: number) => {
    const first = group * channels;
    const members = Math.min(channels, count - first);
    const apart = stored.images.subarray(first * before, (first + members) * before);
    const pixels = await sharp(channels === 1 ? apart : mix(apart, before), { raw: { width: columns, height: rows, channels } })
      .resize(width, height, { fit: 'fill' })
      .toColourspace(channels === 1 ? 'b-w' : 'srgb')
      .raw()
      .toBuffer();
    images.set(channels === 1 ? pixels : unmix(pixels, members), first * after);
    done += members;
  };
  let told = 0;
  const tell = () => {
    for (; told < done; told++) onProgress?.(told + 1, count);
  };
  await forEachConcurrent(Math.ceil(count / channels), resize, { onProgress: tell, signal });
  return { ...stored, images, shape };
}

/** Up to three grey images of so many pixels as red, green and blue. */
function mix(images: Uint8Array, pixels: number): Uint8Array {
  const mixed = new Uint8Array(3 * pixels);
  for (let i = 0; i < images.length; i++) mixed[(i % pixels) * 3 + Math.floor(i / pixels)] = images[i] as number;
  return mixed;
}

/** The first `count` of three images that were mixed. */
function unmix(mixed: Uint8Array, count: number): Uint8Array {
  const pixels = mixed.length / 3;
  const images = new Uint8Array(count * pixels);
  for (let i = 0; i < images.length; i++) images[i] = mixed[(i % pixels) * 3 + Math.floor(i / pixels)] as number;
  return images;
}

/** An IDX file that its header describes: big-endian magic number, one u32 an extent, then the u8 values. */
class IdxFile {
  readonly extents: number[];
  /** Bytes of the header and of what it announces. */
  readonly bytes: number;
  readonly #path: string;
  readonly #header: number;

  /** @param start the file, or its first bytes */
  constructor(path: string, start: Buffer, magic: number, dimensions: number) {
    this.#path = path;
    this.#header = 4 + 4 * dimensions;
    const came = start.length < 4 ? null : start.readUInt32BE(0);
    if (came !== null && came !== magic)
      throw new FileFormatError(`${owner}: ${path} starts with ${hexadecimal(came)}, expected ${hexadecimal(magic)}`);
    if (start.length < this.#header) throw new FileFormatError(`${owner}: ${path} ends within its ${this.#header}-byte header`);
    this.extents = Array.from({ length: dimensions }, (_, axis) => start.readUInt32BE(4 + 4 * axis));
    this.bytes = this.#header + this.extents.reduce((product, extent) => product * extent, 1);
  }

  /** The values of a whole file. */
  valuesOf(file: Buffer): Uint8Array {
    if (file.length !== this.bytes) throw this.wrong(file.length);
    return file.subarray(this.#header);
  }

  /** The error for a file of another length. */
  wrong(length: number): FileFormatError {
    const what = length < this.bytes ? 'is truncated' : 'has trailing bytes';
    const [expected, held] = [this.bytes, length].map((bytes) => bytes - this.#header);
    return new FileFormatError(
      `${owner}: ${this.#path} ${what}: ${this.extents.join('×')} needs ${expected} bytes, it holds ${held}`,
    );
  }
}

async function readIdxFile(path: string, magic: number, dimensions: number): Promise<{ extents: number[]; values: Uint8Array }> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (cause) {
    throw new FileFormatError(`${owner}: cannot read ${path}: ${reason(cause)}`, { cause });
  }
  const describe = (start: Buffer) => new IdxFile(path, start, magic, dimensions);
  const whole = bytes[0] === 0x1f && bytes[1] === 0x8b ? await decompress(path, bytes, describe) : bytes;
  const file = describe(whole);
  return { extents: file.extents, values: file.valuesOf(whole) };
}

/** Like zlib's `gunzip`, which joins its pieces in one go; ends as soon as there is more than the header announces. */
async function decompress(path: string, bytes: Buffer, describe: (start: Buffer) => IdxFile): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let length = 0;
  try {
    await pipeline([bytes], createGunzip({ chunkSize: 1 << 18 }), async (stream: AsyncIterable<Buffer>) => {
      for await (const piece of stream) {
        length += piece.length;
        pieces.push(piece);
        const file = describe(pieces[0] as Buffer);
        if (length > file.bytes) throw file.wrong(length);
      }
    });
  } catch (cause) {
    if (cause instanceof FileFormatError) throw cause;
    throw new FileFormatError(`${owner}: cannot decompress ${path}: ${reason(cause)}`, { cause });
  }
  const whole = Buffer.allocUnsafe(length);
  let at = 0;
  await forEachInSlices(pieces.length, (index) => {
    at += (pieces[index] as Buffer).copy(whole, at);
  });
  return whole;
}

const hexadecimal = (value: number) => `0x${value.toString(16).padStart(8, '0')}`;
