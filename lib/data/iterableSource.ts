import { createHash } from 'node:crypto';
import * as v from 'valibot';
import { OptionError } from '../errors.js';
import { integer, parseOptions, show, string } from '../options.js';
import { type ImageIterableSource, isIterable, owner } from './imageIterable.js';
import { IterableFeed } from './iterableFeed.js';
import { PrefetchReader } from './prefetchReader.js';
import type { ImageReader, ImageSource, ReadingOptions } from './source.js';

/** Options of `ImageDataset.from`. */
export interface IterableOptions {
  /** `[height, width, channels]` of every image. */
  size: readonly [height: number, width: number, channels: number];
  /**
   * Images an epoch, checked. Where it is known, a resumed run skips images of the epoch that it stopped in only; otherwise it goes
   * through all that it had seen.
   */
  length?: number;
  /** Labels must be below this. Default: what the model allows. */
  numClasses?: number;
  /** One name a class. */
  classNames?: readonly string[];
  /** Batches asked for ahead. Default 2. */
  prefetch?: number;
}

const extent = () => integer(1, 16384);
const schema = v.strictObject({
  size: v.strictTuple([extent(), extent(), extent()], '[height, width, channels]'),
  length: v.optional(integer(1, 2 ** 31 - 1)),
  numClasses: v.optional(integer(1, 2 ** 31 - 1)),
  classNames: v.optional(v.pipe(v.array(string(), 'an array of names'), v.minLength(1, 'an array of at least one name'))),
  prefetch: v.optional(integer(0, 1024), 2),
});

/** The settled options. */
export type CheckedIterableOptions = v.InferOutput<typeof schema>;

/** Images that an iterable gives while training goes on. */
export class IterableSource implements ImageSource {
  readonly length: number;
  readonly shape: ImageSource['shape'];
  readonly labels = null;
  readonly classNames: readonly string[] | null;
  readonly numClasses: number;
  readonly labelled = true;
  readonly skipped = [];
  readonly #source: ImageIterableSource;
  readonly #options: CheckedIterableOptions;
  /** Whether the one pass that a generator allows has begun. */
  readonly #pass = { begun: false };

  /** @throws OptionError */
  constructor(source: ImageIterableSource, given: IterableOptions) {
    const options = parseOptions(owner, schema, given);
    if (!isIterable(source) && typeof source !== 'function') {
      throw new OptionError(`${owner}: the first argument must be an iterable or a function that gives one, got ${show(source)}`);
    }
    const { size, length = Infinity, classNames, numClasses = classNames?.length ?? 0 } = options;
    if (classNames && classNames.length !== numClasses) {
      throw new OptionError(`${owner}: option 'numClasses' is ${numClasses}, but there are ${classNames.length} 'classNames'`);
    }
    this.#source = source;
    this.#options = options;
    this.shape = size;
    this.length = length;
    this.classNames = classNames ?? null;
    this.numClasses = numClasses;
  }

  open(reading: ReadingOptions): ImageReader {
    const begin = () =>
      new IterableFeed(this.#source, {
        shape: this.shape,
        length: this.length,
        seed: reading.seed,
        labelled: reading.labelled,
        numClasses: this.numClasses || reading.numClasses || 2 ** 31,
        pass: this.#pass,
      });
    const imageBytes = this.shape[0] * this.shape[1] * this.shape[2];
    return new PrefetchReader(begin, { imageBytes, ahead: this.#options.prefetch * reading.batchSize, workers: 1 });
  }

  /** Of what is known beforehand: that the images are the same again is for those to see to who wrote the iterable. */
  async fingerprint(): Promise<string> {
    const { shape, numClasses, length } = this;
    const description = { source: 'iterable', shape, numClasses, length: Number.isFinite(length) ? length : null };
    return createHash('sha256').update(JSON.stringify(description)).digest('hex');
  }
}
