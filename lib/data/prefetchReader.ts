import { LookAhead } from './lookAhead.js';
import type { ImageReader } from './source.js';

/** An image of a stream, `[height, width, channels]`, and its label if labels are wanted. */
export interface Entry {
  image: Uint8Array;
  label: number;
}

/** Gives the entries of a stream, each once, asked for in order from some position on. */
export interface Feed {
  load(position: number): Promise<Entry>;
  /** Lets go of the source; loads under way may fail or hang. */
  close(): Promise<void>;
}

/** A reader that has images loaded before their turn. */
export class PrefetchReader implements ImageReader {
  readonly #begin: () => Feed;
  readonly #imageBytes: number;
  readonly #ahead: number;
  readonly #workers: number;
  #feed: Feed | null = null;
  #entries: LookAhead<Entry> | null = null;
  #position = -1;

  /**
   * @param begin makes a feed; `ahead` images at most wait for their turn, `workers` are loaded at once
   */
  constructor(begin: () => Feed, { imageBytes, ahead, workers }: { imageBytes: number; ahead: number; workers: number }) {
    this.#begin = begin;
    this.#imageBytes = imageBytes;
    this.#ahead = ahead;
    this.#workers = workers;
  }

  async read(position: number, images: Uint8Array, labels: Int32Array | null, signal?: AbortSignal): Promise<void> {
    const entries = this.#entries && this.#position === position ? this.#entries : await this.#restart(position);
    this.#position = -1;
    const count = images.length / this.#imageBytes;
    for (let k = 0; k < count; k++) {
      const { image, label } = await entries.next(position + count + this.#ahead, signal);
      images.set(image, k * this.#imageBytes);
      if (labels) labels[k] = label;
    }
    this.#position = position + count;
  }

  async close(): Promise<void> {
    const feed = this.#feed;
    this.#entries?.stop();
    this.#entries = null;
    this.#feed = null;
    await feed?.close();
  }

  async #restart(position: number): Promise<LookAhead<Entry>> {
    await this.close();
    const feed = this.#begin();
    this.#feed = feed;
    this.#entries = new LookAhead(position, this.#workers, (at) => feed.load(at));
    return this.#entries;
  }
}
