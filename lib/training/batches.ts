import { setImmediate as nextTurn } from 'node:timers/promises';
import type { ImageDataset } from '../data/dataset.js';
import type { ImageReader } from '../data/source.js';

/** Bytes copied between two turns of the event loop: about 0.1 ms. */
const pieceBytes = 1 << 20;

/** A batch in host memory. */
export interface HostBatch {
  /** [batchSize, H, W, C] */
  images: Uint8Array;
  /** [batchSize] */
  labels: Int32Array | null;
}

/** How a run goes through its data. */
interface BatchOptions {
  seed: number;
  labelled: boolean;
  /** Labels must be below this. */
  numClasses?: number;
}

/**
 * The batches of a training run: step n takes entries n·batchSize … of the data set's shuffled stream. Two batches in turn, so that
 * one may still be on its way to the device while the other is filled.
 */
export class Batches {
  readonly #reader: ImageReader;
  readonly #imageBytes: number;
  readonly #ring: [HostBatch, HostBatch];

  constructor(data: ImageDataset, batchSize: number, { seed, labelled, numClasses }: BatchOptions) {
    this.#reader = data.open({ batchSize, seed, labelled, numClasses });
    this.#imageBytes = data.height * data.width * data.channels;
    const make = (): HostBatch => ({
      images: new Uint8Array(batchSize * this.#imageBytes),
      labels: labelled ? new Int32Array(batchSize) : null,
    });
    this.#ring = [make(), make()];
  }

  /**
   * The batch of a step; it is overwritten by the batch of two steps later.
   * @throws DatasetError, FileFormatError for images that cannot be had; the signal's reason.
   */
  async of(step: number, signal?: AbortSignal): Promise<HostBatch> {
    const batch = this.#ring[step % 2 === 0 ? 0 : 1];
    const imageBytes = this.#imageBytes;
    const count = batch.images.length / imageBytes;
    const piece = Math.max(1, Math.floor(pieceBytes / imageBytes));
    for (let first = 0; first < count; first += piece) {
      if (first > 0) await nextTurn();
      const end = Math.min(count, first + piece);
      const images = batch.images.subarray(first * imageBytes, end * imageBytes);
      await this.#reader.read(step * count + first, images, batch.labels?.subarray(first, end) ?? null, signal);
    }
    return batch;
  }

  /** Stops reading ahead and lets go of the source of the data; a later `of` begins anew. */
  close(): Promise<void> {
    return this.#reader.close();
  }
}
