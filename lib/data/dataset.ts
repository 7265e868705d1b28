import { createHash } from 'node:crypto';
import * as v from 'valibot';
import { DatasetError, DTypeError, OptionError, ShapeError } from '../errors.js';
import { parseOptions, show, string } from '../options.js';
import { forEachInSlices } from '../slices.js';
import { type Cifar10Options, readCifar10 } from './cifar10.js';
import { type FolderOptions, readFolder } from './folder.js';
import type { IconSource } from './iconify.js';
import { type IconOptions, readIcons } from './icons.js';
import { type IdxOptions, readIdx } from './idx.js';
import type { Images } from './images.js';

/** Options of `ImageDataset.tensor`. */
export interface TensorDatasetOptions {
  /** One class index an image, counted from 0. */
  labels?: Int32Array | readonly number[];
  /** Names of the classes; needs `labels`. */
  classNames?: readonly string[];
}

const tensorSchema = v.strictObject({
  labels: v.optional(
    v.custom<Int32Array | readonly number[]>(
      (value) => value instanceof Int32Array || (Array.isArray(value) && value.every(Number.isInteger)),
      'an Int32Array or an array of integers',
    ),
  ),
  classNames: v.optional(v.array(string(), 'an array of strings')),
});

const hashSliceBytes = 256 * 1024;

function isImageShape(shape: unknown): shape is Images['shape'] {
  return Array.isArray(shape) && shape.length === 4 && shape.every((extent) => Number.isInteger(extent) && extent > 0);
}

/** Images held in memory as u8 values, NHWC, with a class label each where the source has classes. */
export class ImageDataset {
  /** All images, `[length, height, width, channels]`. */
  readonly images: Uint8Array;
  /** Number of images. */
  readonly length: number;
  readonly height: number;
  readonly width: number;
  readonly channels: number;
  /** One class index an image, `[length]`, or null. */
  readonly labels: Int32Array | null;
  readonly classNames: readonly string[] | null;
  /** Number of classes; 0 without labels. */
  readonly numClasses: number;
  #fingerprint: Promise<string> | undefined;

  private constructor({ images, shape, labels, classNames }: Images) {
    this.images = images;
    [this.length, this.height, this.width, this.channels] = shape;
    this.labels = labels;
    this.classNames = classNames;
    this.numClasses = classNames?.length ?? (labels ? labels.reduce((most, label) => Math.max(most, label), -1) + 1 : 0);
  }

  /** `[height, width, channels]` of every image. */
  get shape(): [height: number, width: number, channels: number] {
    return [this.height, this.width, this.channels];
  }

  /** Reads every image of a folder; sub-folders are classes. See {@link readFolder}. */
  static async folder(path: string, options: FolderOptions): Promise<ImageDataset> {
    return new ImageDataset(await readFolder(path, options));
  }

  /** Reads IDX files (MNIST's format), plain or gzip. See {@link readIdx}. */
  static async idx(imagesPath: string, labelsPath?: string, options?: IdxOptions): Promise<ImageDataset> {
    return new ImageDataset(await readIdx(imagesPath, labelsPath, options));
  }

  /** Reads the binary version of CIFAR-10. See {@link readCifar10}. */
  static async cifar10(folder: string, options?: Cifar10Options): Promise<ImageDataset> {
    return new ImageDataset(await readCifar10(folder, options));
  }

  /** Draws an Iconify collection; its categories are the classes. See {@link readIcons}. */
  static async icons(source: IconSource, options: IconOptions): Promise<ImageDataset> {
    return new ImageDataset(await readIcons(source, options));
  }

  /**
   * Images that are in memory already: `data` `[n, height, width, channels]`, not copied.
   * @throws DTypeError when `data` is no Uint8Array; ShapeError when it does not fit `shape`; OptionError for a wrong option;
   * DatasetError when the labels do not fit the images or the class names.
   */
  static tensor(
    data: Uint8Array,
    shape: readonly [n: number, height: number, width: number, channels: number],
    options: TensorDatasetOptions = {},
  ): ImageDataset {
    const owner = 'ImageDataset.tensor';
    const { labels: given, classNames } = parseOptions(owner, tensorSchema, options);
    if (!(data instanceof Uint8Array)) throw new DTypeError(`${owner}: data must be a Uint8Array, got ${show(data)}`);
    if (!isImageShape(shape)) {
      throw new ShapeError(`${owner}: shape must be [n, height, width, channels], positive integers, got ${show(shape)}`);
    }
    const count = shape[0];
    const expected = shape.reduce((product, extent) => product * extent, 1);
    if (data.length !== expected) {
      throw new ShapeError(`${owner}: shape ${show(shape)} needs ${expected} values, data has ${data.length}`);
    }
    if (!given) {
      if (classNames) throw new OptionError(`${owner}: option 'classNames' needs 'labels'`);
      return new ImageDataset({ images: data, shape, labels: null, classNames: null });
    }
    if (given.length !== count) throw new DatasetError(`${owner}: ${given.length} labels for ${count} images`);
    const limit = classNames?.length ?? 2 ** 31;
    const wrong = given.findIndex((label) => label < 0 || label >= limit);
    if (wrong >= 0) {
      const range = classNames ? `0 to ${limit - 1}` : '0 or more';
      throw new DatasetError(`${owner}: labels[${wrong}] is ${given[wrong]}, expected ${range}`);
    }
    return new ImageDataset({ images: data, shape, labels: Int32Array.from(given), classNames: classNames ?? null });
  }

  /**
   * Copies images `indices[k]` to `out[k]`, and their labels to `outLabels[k]`.
   * @param out `[indices.length, height, width, channels]`
   * @throws ShapeError for a wrong length; DatasetError for an index outside the set or labels that it does not have.
   */
  gather(indices: Int32Array, out: Uint8Array, outLabels?: Int32Array): void {
    const size = this.height * this.width * this.channels;
    const count = indices.length;
    if (out.length !== count * size) {
      throw new ShapeError(`gather: out must hold ${count}×${this.shape.join('×')} = ${count * size} values, got ${out.length}`);
    }
    if (outLabels && outLabels.length !== count) {
      throw new ShapeError(`gather: outLabels must hold ${count} values, got ${outLabels.length}`);
    }
    if (outLabels && !this.labels) throw new DatasetError('gather: outLabels given, but the data set has no labels');
    for (let k = 0; k < count; k++) {
      const index = indices[k] as number;
      if (index < 0 || index >= this.length) {
        throw new DatasetError(`gather: indices[${k}] is ${index}, the data set has ${this.length} images`);
      }
      out.set(this.images.subarray(index * size, (index + 1) * size), k * size);
      if (outLabels) outLabels[k] = this.labels?.[index] as number;
    }
  }

  /** SHA-256 over shape, values and labels, in hexadecimal; computed once, in slices. Tells whether a resumed run has the same data. */
  fingerprint(): Promise<string> {
    this.#fingerprint ??= this.#hash();
    return this.#fingerprint;
  }

  async #hash(): Promise<string> {
    const hash = createHash('sha256');
    hash.update(JSON.stringify({ shape: [this.length, ...this.shape], labelled: this.labels !== null }));
    const { labels } = this;
    const parts = [this.images];
    if (labels) parts.push(new Uint8Array(labels.buffer, labels.byteOffset, labels.byteLength));
    for (const part of parts) {
      const slices = Math.ceil(part.length / hashSliceBytes);
      await forEachInSlices(slices, (slice) => {
        hash.update(part.subarray(slice * hashSliceBytes, (slice + 1) * hashSliceBytes));
      });
    }
    return hash.digest('hex');
  }
}
