import { setImmediate as nextTurn } from 'node:timers/promises';
import { BatchOrder } from '../data/batchOrder.js';
import type { ImageDataset } from '../data/dataset.js';

/** Bytes copied between two turns of the event loop: about 0.1 ms. */
const pieceBytes = 1 << 20;

/** A batch in host memory. */
export interface HostBatch {
  /** [batchSize, H, W, C] */
  images: Uint8Array;
  /** [batchSize] */
  labels: Int32Array | null;
}

/**
 * The batches of a training run: step n takes entries n·batchSize … of the data set's shuffled stream. Two batches in turn, so that
 * one may still be on its way to the device while the other is filled.
 */
export class Batches {
  readonly #data: ImageDataset;
  readonly #order: BatchOrder;
  readonly #ring: [HostBatch, HostBatch];

  constructor(data: ImageDataset, batchSize: number, { seed, labelled }: { seed: number; labelled: boolean }) {
    this.#data = data;
    this.#order = new BatchOrder(data.length, seed);
    const make = (): HostBatch => ({
      images: new Uint8Array(batchSize * data.height * data.width * data.channels),
      labels: labelled ? new Int32Array(batchSize) : null,
    });
    this.#ring = [make(), make()];
  }

  /** The batch of a step; it is overwritten by the batch of two steps later. */
  async of(step: number): Promise<HostBatch> {
    const batch = this.#ring[step % 2 === 0 ? 0 : 1];
    const { height, width, channels } = this.#data;
    const imageBytes = height * width * channels;
    const count = batch.images.length / imageBytes;
    const piece = Math.max(1, Math.floor(pieceBytes / imageBytes));
    for (let first = 0; first < count; first += piece) {
      if (first > 0) await nextTurn();
      const end = Math.min(count, first + piece);
      const indices = this.#order.indices(step * count + first, end - first);
      const images = batch.images.subarray(first * imageBytes, end * imageBytes);
      this.#data.gather(indices, images, batch.labels?.subarray(first, end));
    }
    return batch;
  }
}
