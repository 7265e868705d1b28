import * as v from 'valibot';
import { DatasetError, OptionError } from '../errors.js';
import { integer, show } from '../options.js';

/** What a source delivers: u8 images NHWC, and a class index an image where the source has classes. */
export interface Images {
  images: Uint8Array;
  /** `[n, height, width, channels]` */
  shape: readonly [n: number, height: number, width: number, channels: number];
  labels: Int32Array | null;
  classNames: readonly string[] | null;
  /** Files left out because they cannot be decoded. */
  skipped?: readonly string[];
}

/** A side in pixels, or `[height, width]`. */
export type ImageSize = number | readonly [height: number, width: number];

const side = () => integer(1, 16384);

/** Schema of `size`: one side for square images or `[height, width]`; gives `[height, width]`. */
export const imageSize = () =>
  v.pipe(
    v.union([side(), v.strictTuple([side(), side()])], 'a side in pixels or [height, width]'),
    v.transform((size): [height: number, width: number] => (typeof size === 'number' ? [size, size] : size)),
  );

/** Schema of `onProgress`. */
export const progress = () =>
  v.custom<(done: number, total: number) => void>((value) => typeof value === 'function', 'a function (done, total)');

/** Zeroed room for `shape`'s images. Throws DatasetError when they do not fit into memory. */
export function allocateImages(owner: string, shape: Images['shape']): Uint8Array {
  const bytes = shape.reduce((product, extent) => product * extent, 1);
  try {
    return new Uint8Array(bytes);
  } catch (cause) {
    throw new DatasetError(`${owner}: ${shape[0]} images of ${shape.slice(1).join('×')} need ${bytes} bytes of memory`, {
      cause,
    });
  }
}

/** The message of whatever was thrown. */
export const reason = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Throws OptionError unless `value` is the path of something. */
export function requirePath(owner: string, argument: string, value: unknown): void {
  if (typeof value !== 'string' || value === '')
    throw new OptionError(`${owner}: ${argument} must be a path, got ${show(value)}`);
}
