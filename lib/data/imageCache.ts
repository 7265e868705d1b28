const chunkBytes = 1 << 20;

/**
 * Keeps the first images it is given, up to a limit of memory. None makes room for another: training asks for every image once an
 * epoch in an order that changes, and then which ones stay makes no difference.
 */
export class ImageCache {
  readonly #imageBytes: number;
  readonly #capacity: number;
  readonly #perChunk: number;
  /** One more than the place of each image, 0 for none. */
  readonly #places: Int32Array;
  readonly #chunks: Uint8Array[] = [];
  #size = 0;

  /** @param count images that there are */
  constructor(count: number, imageBytes: number, limitBytes: number) {
    this.#places = new Int32Array(count);
    this.#imageBytes = imageBytes;
    this.#capacity = Math.floor(limitBytes / imageBytes);
    this.#perChunk = Math.max(1, Math.floor(chunkBytes / imageBytes));
  }

  /** Images kept. */
  get size(): number {
    return this.#size;
  }

  get(index: number): Uint8Array | undefined {
    const place = (this.#places[index] as number) - 1;
    return place < 0 ? undefined : this.#at(place);
  }

  add(index: number, image: Uint8Array): void {
    const place = this.#size;
    if (place >= this.#capacity || this.#places[index] !== 0) return;
    if (place % this.#perChunk === 0) {
      this.#chunks.push(new Uint8Array(Math.min(this.#perChunk, this.#capacity - place) * this.#imageBytes));
    }
    this.#at(place).set(image);
    this.#places[index] = ++this.#size;
  }

  #at(place: number): Uint8Array {
    const chunk = this.#chunks[Math.floor(place / this.#perChunk)] as Uint8Array;
    const start = (place % this.#perChunk) * this.#imageBytes;
    return chunk.subarray(start, start + this.#imageBytes);
  }
}
