import { constants } from 'node:buffer';
import { totalmem } from 'node:os';
import { join } from 'node:path';
import * as v from 'valibot';
import { DatasetError } from '../errors.js';
import { boolean, integer, oneOf, parseOptions, signal, string } from '../options.js';
import { forEachInSlices } from '../slices.js';
import { forEachConcurrent, type LoadingOptions } from './concurrent.js';
import { imageDecoder } from './decode.js';
import { FileSource } from './fileSource.js';
import { classFolders, fingerprintFiles, imageExtensions, listImages, topFolder } from './imageFiles.js';
import { allocateImages, type ImageSize, imageSize, progress, requirePath } from './images.js';
import { MemorySource } from './memorySource.js';
import type { ImageSource } from './source.js';

/** Options of `ImageDataset.folder`. */
export interface FolderOptions extends LoadingOptions {
  /** Side in pixels, or `[height, width]`. */
  size: ImageSize;
  /** 3: RGB, 1: grey, 4: RGB and alpha. Default 3. */
  channels?: 1 | 3 | 4;
  /**
   * CSS colour that transparent pixels are composited on (with 1 or 3 channels), and of the bars of `fit: 'contain'`. Default
   * `'white'`.
   */
  background?: string;
  /** `'cover'`: centre crop; `'contain'`: whole image with bars; `'fill'`: stretched. Default `'cover'`. */
  fit?: 'cover' | 'contain' | 'fill';
  /**
   * Whether the root's sub-folders are classes. true: an image in the root is an error; false: there are no labels. Default: they
   * are, unless an image lies in the root.
   */
  labels?: boolean;
  /**
   * What an image that cannot be decoded does. `'throw'`: it ends the loading, or, in a set that is streamed, the training that
   * comes to it; `'skip'`: it is left out and named in `data.skipped`, for which a set that is streamed is decoded once beforehand.
   * Default `'throw'`.
   */
  onCorrupt?: 'throw' | 'skip';
  /**
   * Memory for decoded images, in bytes. A set that fits is decoded whole; of a larger one as many images are kept as fit, the
   * others are decoded for each use, ahead of it (`data.streamed`). What training sees is the same. Default: half of the memory
   * that the machine has, or the process may use. Beyond 4 GiB, the longest array of Node.js 20, sets are streamed in any case.
   */
  cacheBytes?: number;
  /** Batches that are decoded ahead when the set is streamed. Default 2. */
  prefetch?: number;
}

const schema = v.strictObject({
  size: imageSize(),
  channels: v.optional(v.picklist([3, 1, 4], '3, 1 or 4'), 3),
  background: v.optional(string(), 'white'),
  fit: v.optional(oneOf('cover', 'contain', 'fill'), 'cover'),
  labels: v.optional(boolean()),
  onCorrupt: v.optional(oneOf('throw', 'skip'), 'throw'),
  cacheBytes: v.optional(integer(0), () => Math.floor(Math.min(totalmem(), process.constrainedMemory() || Infinity) / 2)),
  prefetch: v.optional(integer(0, 1024), 2),
  onProgress: v.optional(progress()),
  signal: v.optional(signal()),
});

const owner = 'ImageDataset.folder';

/** `ImageDataset.folder`. */
export async function openFolder(path: string, options: FolderOptions): Promise<ImageSource> {
  requirePath(owner, 'path', path);
  const parsed = parseOptions(owner, schema, options);
  const { size, channels, background, fit, onCorrupt, cacheBytes, prefetch, onProgress, signal } = parsed;
  const decode = await imageDecoder(owner, { size, channels, background, fit });
  const listed = await listImages(owner, path);
  if (listed.length === 0) throw new DatasetError(`${owner}: no image (${imageExtensions.join(' ')}) in ${path}`);
  const classNames = parsed.labels === false ? null : await classFolders(owner, path, listed, parsed.labels === true);
  const classOf = new Map(classNames?.map((name, label) => [name, label]));

  const shape = [...size, channels] as const;
  const imageBytes = shape[0] * shape[1] * shape[2];
  const whole = listed.length * imageBytes <= Math.min(cacheBytes, constants.MAX_LENGTH);
  const values = whole ? allocateImages(owner, [listed.length, ...shape]) : null;
  const corrupt = new Set<number>();
  const decodeOne = async (index: number) => {
    try {
      const image = await decode(join(path, listed[index] as string));
      values?.set(image, index * imageBytes);
    } catch (error) {
      if (onCorrupt === 'throw') throw error;
      corrupt.add(index);
    }
  };
  if (whole || onCorrupt === 'skip') await forEachConcurrent(listed.length, decodeOne, { onProgress, signal });
  if (corrupt.size === listed.length)
    throw new DatasetError(`${owner}: none of the ${listed.length} images in ${path} is readable`);

  const files = corrupt.size === 0 ? listed : listed.filter((_, index) => !corrupt.has(index));
  const skipped = [...corrupt].sort((a, b) => a - b).map((index) => join(path, listed[index] as string));
  const labels = classNames && new Int32Array(files.length);
  await forEachInSlices(labels ? files.length : 0, (index) => {
    (labels as Int32Array)[index] = classOf.get(topFolder(files[index] as string)) as number;
  });
  const found = { shape, classNames, labels, skipped };
  const description = { shape, background, fit, classNames };
  const fingerprint = () => fingerprintFiles(owner, path, files, description);
  if (!values) {
    const decodeAt = (index: number) => decode(join(path, files[index] as string));
    return new FileSource({ ...found, length: files.length, decode: decodeAt, fingerprint, cacheBytes, prefetch });
  }
  const images = await closeGaps(values, imageBytes, corrupt);
  return new MemorySource({ ...found, images, shape: [files.length, ...shape] }, fingerprint);
}

/** Moves the images that are not to be left out to the front, in place. */
async function closeGaps(images: Uint8Array, imageBytes: number, leftOut: ReadonlySet<number>): Promise<Uint8Array> {
  if (leftOut.size === 0) return images;
  let to = 0;
  await forEachInSlices(images.length / imageBytes, (index) => {
    if (leftOut.has(index)) return;
    images.copyWithin(to, index * imageBytes, (index + 1) * imageBytes);
    to += imageBytes;
  });
  return images.subarray(0, to);
}
