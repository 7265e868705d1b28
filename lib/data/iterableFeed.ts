import { DatasetError } from '../errors.js';
import { show } from '../options.js';
import { Slices } from '../slices.js';
import { type ImageItem, type ImageIterable, type ImageIterableSource, isIterable, owner } from './imageIterable.js';
import { reason } from './images.js';
import type { Entry, Feed } from './prefetchReader.js';

/** How to go through an iterable. */
export interface IterableFeedOptions {
  shape: readonly [height: number, width: number, channels: number];
  /** Images an epoch, or Infinity. */
  length: number;
  seed: number;
  labelled: boolean;
  numClasses: number;
  /** Of all feeds of a source: whether the one pass that a generator allows has begun. */
  pass: { begun: boolean };
}

type ImageIterator = AsyncIterator<ImageItem> | Iterator<ImageItem | Promise<ImageItem>>;

/** Goes through an iterable epoch after epoch, one image at a time. */
export class IterableFeed implements Feed {
  readonly #source: ImageIterableSource;
  readonly #options: IterableFeedOptions;
  #iterator: ImageIterator | null = null;
  #begun = false;
  #epoch = 0;
  /** Images of this epoch that came. */
  #count = 0;
  #asking = false;
  #closed = false;

  constructor(source: ImageIterableSource, options: IterableFeedOptions) {
    this.#source = source;
    this.#options = options;
  }

  async load(position: number): Promise<Entry> {
    if (!this.#begun) await this.#skip(position);
    return this.#entryOf(await this.#next());
  }

  /** Ends the iteration by the iterator's `return`; waits for it unless an image is being waited for, which may never come. */
  async close(): Promise<void> {
    this.#closed = true;
    const iterator = this.#iterator;
    this.#iterator = null;
    const returned = (async () => {
      await iterator?.return?.();
    })().catch(() => {}); // whoever closes has no more use for it, or an error to report already
    if (!this.#asking) await returned;
  }

  /** Goes past what an earlier run has seen. */
  async #skip(position: number): Promise<void> {
    const { length } = this.#options;
    this.#begun = true;
    let left = position;
    if (Number.isFinite(length)) {
      this.#epoch = Math.floor(position / length);
      left = position % length;
    }
    for (const slices = new Slices(); left > 0; left--) {
      await slices.next();
      await this.#next();
    }
  }

  async #next(): Promise<unknown> {
    const { length } = this.#options;
    for (;;) {
      if (this.#closed) throw new DatasetError(`${owner}: the reader has been closed`);
      this.#iterator ??= await this.#open();
      const result = await this.#ask(this.#iterator);
      if (!result.done) {
        if (++this.#count > length) throw new DatasetError(`${owner}: epoch ${this.#epoch} has more than ${length} images`);
        return result.value;
      }
      this.#iterator = null;
      if (this.#count === 0) throw new DatasetError(`${owner}: epoch ${this.#epoch} has no images`);
      if (this.#count < length && Number.isFinite(length)) {
        throw new DatasetError(`${owner}: epoch ${this.#epoch} has ${this.#count} images, option 'length' says ${length}`);
      }
      this.#epoch++;
      this.#count = 0;
    }
  }

  /** Begins an epoch. */
  async #open(): Promise<ImageIterator> {
    const source = this.#source;
    const { seed, pass } = this.#options;
    const iterable: unknown =
      typeof source === 'function' ? await this.#guard(async () => source({ epoch: this.#epoch, seed })) : source;
    if (!isIterable(iterable)) throw new DatasetError(`${owner}: the function must give an iterable, got ${show(iterable)}`);
    const iterator = await this.#guard(async () => iteratorOf(iterable));
    if (typeof source !== 'function' && (iterator as unknown) === iterable) {
      const cure = 'it can be gone through only once: give a function that makes a new one for every epoch';
      if (pass.begun) throw new DatasetError(`${owner}: training needs more images than the iterable has, and ${cure}`);
      pass.begun = true;
    }
    if (!this.#closed) return iterator;
    await iterator.return?.();
    throw new DatasetError(`${owner}: the reader has been closed`);
  }

  async #ask(iterator: ImageIterator): Promise<{ done: boolean; value: unknown }> {
    this.#asking = true;
    try {
      return await this.#guard(async () => {
        const result = await iterator.next();
        return { done: result.done === true, value: await result.value };
      });
    } catch (error) {
      this.#iterator = null; // an iterator that threw has ended
      throw error;
    } finally {
      this.#asking = false;
    }
  }

  /** Says where it was when the user's code throws. */
  async #guard<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (cause) {
      if ((cause as Error | undefined)?.name === 'AbortError') throw cause;
      const place = `after ${this.#count} images of epoch ${this.#epoch}`;
      throw new DatasetError(`${owner}: the iterable failed ${place}: ${reason(cause)}`, { cause });
    }
  }

  #entryOf(item: unknown): Entry {
    const { shape, labelled, numClasses } = this.#options;
    const refuse = (what: string) => new DatasetError(`${owner}: image ${this.#count - 1} of epoch ${this.#epoch} ${what}`);
    const { image, label } = isBytes(item) ? { image: item, label: undefined } : ((item ?? {}) as Record<string, unknown>);
    if (!isBytes(image)) throw refuse(`must be a Uint8Array or { image: Uint8Array, label? }, got ${show(item)}`);
    const expected = shape[0] * shape[1] * shape[2];
    if (image.length !== expected) throw refuse(`has ${image.length} values, ${shape.join('×')} needs ${expected}`);
    if (!labelled) return { image: Uint8Array.from(image), label: 0 };
    if (label === undefined) throw refuse('has no label, but the model has classes');
    if (!Number.isInteger(label) || (label as number) < 0 || (label as number) >= numClasses) {
      throw refuse(`has label ${show(label)}, expected an integer from 0 to ${numClasses - 1}`);
    }
    return { image: Uint8Array.from(image), label: label as number };
  }
}

const isBytes = (value: unknown): value is Uint8Array | Uint8ClampedArray =>
  value instanceof Uint8Array || value instanceof Uint8ClampedArray;

function iteratorOf(iterable: ImageIterable): ImageIterator {
  return Symbol.asyncIterator in iterable ? iterable[Symbol.asyncIterator]() : iterable[Symbol.iterator]();
}
