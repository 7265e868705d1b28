import * as v from 'valibot';
import { DatasetError, DTypeError, OptionError, ShapeError } from '../errors.js';
import { parseOptions, show, string } from '../options.js';
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

function isImageShape(shape: unknown): shape is Images['shape'] {
  return Array.isArray(shape) && shape.length === 4 && shape.every((extent) => Number.isInteger(extent) && extent > 0);
}

/** Images that are in memory already; arguments and errors are those of `ImageDataset.tensor`. */
export function imagesOf(data: Uint8Array, shape: Images['shape'], options: TensorDatasetOptions): Images {
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
    return { images: data, shape, labels: null, classNames: null };
  }
  if (given.length !== count) throw new DatasetError(`${owner}: ${given.length} labels for ${count} images`);
  const limit = classNames?.length ?? 2 ** 31;
  const wrong = given.findIndex((label) => label < 0 || label >= limit);
  if (wrong >= 0) {
    const range = classNames ? `0 to ${limit - 1}` : '0 or more';
    throw new DatasetError(`${owner}: labels[${wrong}] is ${given[wrong]}, expected ${range}`);
  }
  return { images: data, shape, labels: Int32Array.from(given), classNames: classNames ?? null };
}
