import { createHash } from 'node:crypto';
import { DatasetError, ShapeError } from '../errors.js';
import { forEachInSlices } from '../slices.js';
import { BatchOrder } from './batchOrder.js';
import type { Images } from './images.js';
import type { ImageReader, ImageSource, ReadingOptions } from './source.js';

const hashSliceBytes = 256 * 1024;

/** Images that are all in memory. */
export class MemorySource implements ImageSource {
  /** `[length, height, width, channels]` */
  readonly images: Uint8Array;
  readonly length: number;
  readonly shape: readonly [height: number, width: number, channels: number];
  readonly labels: Int32Array | null;
  readonly classNames: readonly string[] | null;
  readonly numClasses: number;
  readonly labelled: boolean;
  readonly skipped: readonly string[];
  readonly #fingerprint: () => Promise<string>;

  /** @param fingerprint where left out, a SHA-256 of shape, values and labels */
  constructor({ images, shape, labels, classNames, skipped = [] }: Images, fingerprint?: () => Promise<string>) {
    this.images = images;
    this.length = shape[0];
    this.shape = [shape[1], shape[2], shape[3]];
    this.labels = labels;
    this.classNames = classNames;
    this.numClasses = classNames?.length ?? (labels ? labels.reduce((most, label) => Math.max(most, label), -1) + 1 : 0);
    this.labelled = labels !== null;
    this.skipped = skipped;
    this.#fingerprint = fingerprint ?? (() => this.#hash());
  }

  open({ seed }: ReadingOptions): ImageReader {
    const order = new BatchOrder(this.length, seed);
    const imageBytes = this.shape[0] * this.shape[1] * this.shape[2];
    return {
      read: async (position, images, labels) =>
        this.gather(order.indices(position, images.length / imageBytes), images, labels ?? undefined),
      close: async () => {},
    };
  }

  /** See `ImageDataset.gather`. */
  gather(indices: Int32Array, out: Uint8Array, outLabels?: Int32Array): void {
    const size = this.shape[0] * this.shape[1] * this.shape[2];
    const count = indices.length;
    if (out.length !== count * size) {
      throw new ShapeError(`gather: out must hold ${count}×${this.shape.join('×')} = ${count * size} values, got ${out.length}`);
    }
    if (outLabels && outLabels.length !== count) {
      throw new ShapeError(`gather: outLabels must hold ${count} values, got ${outLabels.length}`);
    }
    if (outLabels && !this.labels) throw new DatasetError('gather: outLabels given, but the data set has no labels');
    for (let k = 0; k < count; k++) {
      const index = indices[k] as number;
      if (index < 0 || index >= this.length) {
        throw new DatasetError(`gather: indices[${k}] is ${index}, the data set has ${this.length} images`);
      }
      out.set(this.images.subarray(index * size, (index + 1) * size), k * size);
      if (outLabels) outLabels[k] = this.labels?.[index] as number;
    }
  }

  fingerprint(): Promise<string> {
    return this.#fingerprint();
  }

  async #hash(): Promise<string> {
    const hash = createHash('sha256');
    hash.update(JSON.stringify({ shape: [this.length, ...this.shape], labelled: this.labels !== null }));
    const { labels } = this;
    const parts = [this.images];
    if (labels) parts.push(new Uint8Array(labels.buffer, labels.byteOffset, labels.byteLength));
    for (const part of parts) {
      const slices = Math.ceil(part.length / hashSliceBytes);
      await forEachInSlices(slices, (slice) => {
        hash.update(part.subarray(slice * hashSliceBytes, (slice + 1) * hashSliceBytes));
      });
    }
    return hash.digest('hex');
  }
}
