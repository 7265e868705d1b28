import { createHash } from 'node:crypto';
import { OptionError } from '../errors.js';
import { show } from '../options.js';

const rounds = 8;

/**
 * The order in which training sees a data set: an endless stream of indices, one freshly shuffled epoch after another. It is a
 * pure function of (length, seed, position), so that a position is all that a checkpoint needs, and takes no memory.
 *
 * The permutation of an epoch is a generalised Feistel network with cycle walking (Black and Rogaway, "Ciphers with Arbitrary
 * Finite Domains", 2002): on the grid [rows, columns] that holds 0 … length - 1, each round shifts one coordinate by a hash of
 * the other, keyed by (seed, epoch); results beyond the length go round again.
 */
export class BatchOrder {
  readonly length: number;
  readonly seed: number;
  readonly #rows: number;
  readonly #columns: number;
  #epoch = -1;
  #keys = new Uint32Array(rounds);

  /**
   * @param length number of images
   * @param seed any safe integer
   * @throws OptionError
   */
  constructor(length: number, seed: number) {
    if (!Number.isInteger(length) || length < 1 || length > 2 ** 31 - 1) {
      throw new OptionError(`new BatchOrder: length must be an integer between 1 and 2147483647, got ${show(length)}`);
    }
    if (!Number.isSafeInteger(seed)) throw new OptionError(`new BatchOrder: seed must be an integer, got ${show(seed)}`);
    this.length = length;
    this.seed = seed;
    this.#rows = Math.ceil(Math.sqrt(length));
    this.#columns = Math.ceil(length / this.#rows);
  }

  /**
   * Entries `position` … `position + count - 1` of the stream, `[count]`; batches run on across the ends of epochs.
   * @throws OptionError unless both are integers of at least 0.
   */
  indices(position: number, count: number): Int32Array {
    for (const [name, value] of Object.entries({ position, count, end: position + count })) {
      if (!Number.isSafeInteger(value) || value < 0) {
        throw new OptionError(`BatchOrder.indices: ${name} must be an integer of at least 0, got ${show(value)}`);
      }
    }
    const indices = new Int32Array(count);
    if (this.length === 1) return indices;
    for (let k = 0; k < count; k++) {
      const epoch = Math.floor((position + k) / this.length);
      if (epoch !== this.#epoch) this.#enter(epoch);
      indices[k] = this.#permute((position + k) % this.length);
    }
    return indices;
  }

  #enter(epoch: number): void {
    const digest = createHash('sha256').update(`${this.seed}/${epoch}`).digest();
    this.#keys = Uint32Array.from({ length: rounds }, (_, round) => digest.readUInt32LE(4 * round));
    this.#epoch = epoch;
  }

  #permute(start: number): number {
    const rows = this.#rows;
    const columns = this.#columns;
    let index = start;
    do {
      let row = Math.floor(index / columns);
      let column = index % columns;
      for (let round = 0; round < rounds; round += 2) {
        row = (row + mix(this.#keys[round] as number, column)) % rows;
        column = (column + mix(this.#keys[round + 1] as number, row)) % columns;
      }
      index = row * columns + column;
    } while (index >= this.length);
    return index;
  }
}

/** A 32-bit hash of a keyed value: MurmurHash3's finaliser over a Weyl sequence. */
function mix(key: number, value: number): number {
  let h = key ^ Math.imul(value + 1, 0x9e3779b1);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
