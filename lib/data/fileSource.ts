import { BatchOrder } from './batchOrder.js';
import { concurrency } from './concurrent.js';
import { ImageCache } from './imageCache.js';
import { PrefetchReader } from './prefetchReader.js';
import type { ImageReader, ImageSource, ReadingOptions } from './source.js';

/** What a `FileSource` is made of. */
export interface FileSourceParts extends Pick<ImageSource, 'length' | 'shape' | 'labels' | 'classNames' | 'skipped'> {
  /** The values of image `index`; must not block. */
  decode(index: number): Promise<Uint8Array>;
  fingerprint(): Promise<string>;
  /** Memory for decoded images. */
  cacheBytes: number;
  /** Batches decoded ahead. */
  prefetch: number;
}

/** Images that do not fit into memory together: each is decoded shortly before its turn, and some are kept. */
export class FileSource implements ImageSource {
  readonly length: number;
  readonly shape: ImageSource['shape'];
  readonly labels: Int32Array | null;
  readonly classNames: readonly string[] | null;
  readonly numClasses: number;
  readonly labelled: boolean;
  readonly skipped: readonly string[];
  readonly #parts: FileSourceParts;
  readonly #cache: ImageCache;
  readonly #imageBytes: number;

  constructor(parts: FileSourceParts) {
    this.length = parts.length;
    this.shape = parts.shape;
    this.labels = parts.labels;
    this.classNames = parts.classNames;
    this.numClasses = parts.classNames?.length ?? 0;
    this.labelled = parts.labels !== null;
    this.skipped = parts.skipped;
    this.#parts = parts;
    this.#imageBytes = parts.shape[0] * parts.shape[1] * parts.shape[2];
    this.#cache = new ImageCache(this.length, this.#imageBytes, parts.cacheBytes);
  }

  open({ seed, batchSize }: ReadingOptions): ImageReader {
    const order = new BatchOrder(this.length, seed);
    const load = async (position: number) => {
      const index = order.indices(position, 1)[0] as number;
      return { image: await this.#image(index), label: this.labels?.[index] ?? 0 };
    };
    const ahead = this.#parts.prefetch * batchSize;
    return new PrefetchReader(() => ({ load, close: async () => {} }), {
      imageBytes: this.#imageBytes,
      ahead,
      workers: concurrency,
    });
  }

  fingerprint(): Promise<string> {
    return this.#parts.fingerprint();
  }

  async #image(index: number): Promise<Uint8Array> {
    const kept = this.#cache.get(index);
    if (kept) return kept;
    const image = await this.#parts.decode(index);
    this.#cache.add(index, image);
    return image;
  }
}
