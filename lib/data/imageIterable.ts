/** An image of an iterable, u8 `[height, width, channels]`: its values alone, or with its class index. They are copied at once. */
export type ImageItem = Uint8Array | Uint8ClampedArray | LabelledImage;

/** An image of an iterable with its class. */
export interface LabelledImage {
  /** u8 `[height, width, channels]` */
  image: Uint8Array | Uint8ClampedArray;
  /** Class index, counted from 0. */
  label?: number | undefined;
}

/** An iterable of images, waited for or not. */
export type ImageIterable = AsyncIterable<ImageItem> | Iterable<ImageItem | Promise<ImageItem>>;

/**
 * Where the images of `ImageDataset.from` come from. A function is called for every epoch, counted from 0, with the seed of the run;
 * an iterable is gone through anew for every epoch, which those do not allow that can be gone through only once (generators).
 */
export type ImageIterableSource =
  | ImageIterable
  | ((pass: { epoch: number; seed: number }) => ImageIterable | Promise<ImageIterable>);

export const owner = 'ImageDataset.from';

/** Whether a value can be gone through, with waiting or without. */
export function isIterable(value: unknown): value is ImageIterable {
  const object = value as Partial<AsyncIterable<unknown> & Iterable<unknown>> | null | undefined;
  return (
    typeof object === 'object' &&
    (typeof object?.[Symbol.asyncIterator] === 'function' || typeof object?.[Symbol.iterator] === 'function')
  );
}
