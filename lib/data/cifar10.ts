import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import { FileFormatError } from '../errors.js';
import { oneOf, parseOptions, signal } from '../options.js';
import { forEachInSlices } from '../slices.js';
import { allocateImages, type Images, reason, requirePath } from './images.js';

/** Options of `ImageDataset.cifar10`. */
export interface Cifar10Options {
  /** The 50,000 training or the 10,000 test images. Default `'train'`. */
  split?: 'train' | 'test';
  /** Stops the loading between two files; the promise rejects with the signal's reason. */
  signal?: AbortSignal;
}

const schema = v.strictObject({ split: v.optional(oneOf('train', 'test'), 'train'), signal: v.optional(signal()) });

const owner = 'ImageDataset.cifar10';
const side = 32;
const pixels = side * side;
const recordBytes = 1 + 3 * pixels;
const classNames = ['airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck'];

/**
 * Reads the binary version of CIFAR-10 (https://www.cs.toronto.edu/~kriz/cifar.html) from the folder that holds its
 * `data_batch_1.bin` … `data_batch_5.bin` and `test_batch.bin`.
 * @throws FileFormatError for a missing file, or one that is not whole records or has a label above 9.
 */
export async function readCifar10(folder: string, options: Cifar10Options = {}): Promise<Images> {
  requirePath(owner, 'folder', folder);
  const { split, signal } = parseOptions(owner, schema, options);
  const names = split === 'test' ? ['test_batch.bin'] : [1, 2, 3, 4, 5].map((batch) => `data_batch_${batch}.bin`);
  const batches: { path: string; records: Buffer }[] = [];
  for (const name of names) {
    signal?.throwIfAborted();
    const path = join(folder, name);
    batches.push({ path, records: await readRecords(path) });
  }
  const count = batches.reduce((sum, { records }) => sum + records.length / recordBytes, 0);
  const shape = [count, side, side, 3] as const;
  const images = allocateImages(owner, shape);
  const labels = new Int32Array(count);
  let first = 0;
  for (const { path, records } of batches) {
    const inBatch = records.length / recordBytes;
    const interleave = (record: number) => {
      const from = record * recordBytes;
      const label = records[from] as number;
      if (label >= classNames.length) throw new FileFormatError(`${owner}: ${path} has label ${label} in record ${record}`);
      labels[first + record] = label;
      let to = (first + record) * 3 * pixels;
      for (let red = from + 1; red <= from + pixels; red++) {
        images[to++] = records[red] as number;
        images[to++] = records[red + pixels] as number;
        images[to++] = records[red + 2 * pixels] as number;
      }
    };
    await forEachInSlices(inBatch, interleave, signal);
    first += inBatch;
  }
  return { images, shape, labels, classNames };
}

/** One file of records: a label byte, then 1,024 red, 1,024 green and 1,024 blue ones. */
async function readRecords(path: string): Promise<Buffer> {
  let records: Buffer;
  try {
    records = await readFile(path);
  } catch (cause) {
    throw new FileFormatError(`${owner}: cannot read ${path}: ${reason(cause)}`, { cause });
  }
  if (records.length === 0 || records.length % recordBytes !== 0) {
    throw new FileFormatError(`${owner}: ${path} holds ${records.length} bytes, expected a multiple of ${recordBytes}`);
  }
  return records;
}
