import { FileFormatError } from '../../errors.js';

/** Bytes of a pickle, read in order; whatever is asked for beyond them is a FileFormatError. */
export class PickleInput {
  readonly #bytes: Buffer;
  readonly #source: string;
  /** The next byte. */
  position: number;

  /** @param source what the bytes are, for messages: a quoted path */
  constructor(bytes: Uint8Array, source: string, position = 0) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#source = source;
    this.position = position;
  }

  fail(what: string): FileFormatError {
    return new FileFormatError(`${this.#source}: ${what}`);
  }

  /** Where `count` bytes begin, which are then behind. */
  #advance(count: number): number {
    const at = this.position;
    if (!(count >= 0 && count <= this.#bytes.length - at))
      throw this.fail(`its pickle is cut short: ${count} bytes are missing at byte ${at} of ${this.#bytes.length}`);
    this.position = at + count;
    return at;
  }

  byte(): number {
    return this.#bytes[this.#advance(1)] as number;
  }

  unsigned(bytes: 1 | 2 | 4): number {
    return this.#bytes.readUIntLE(this.#advance(bytes), bytes);
  }

  int32(): number {
    return this.#bytes.readInt32LE(this.#advance(4));
  }

  /** A length of eight bytes; beyond 2⁵³ it is inexact, and too much all the same. */
  long(): number {
    return Number(this.#bytes.readBigUInt64LE(this.#advance(8)));
  }

  float64(): number {
    return this.#bytes.readDoubleBE(this.#advance(8));
  }

  text(bytes: number): string {
    const at = this.#advance(bytes);
    return this.#bytes.toString('utf8', at, at + bytes);
  }

  /** Up to the end of the line, which is skipped. */
  line(): string {
    const end = this.#bytes.indexOf(10, this.position);
    if (end < 0) throw this.fail('its pickle is cut short: a line does not end');
    const at = this.#advance(end + 1 - this.position);
    return this.#bytes.toString('utf8', at, end);
  }

  slice(bytes: number): Uint8Array {
    const at = this.#advance(bytes);
    return this.#bytes.subarray(at, at + bytes);
  }

  /** A two's complement integer of so many bytes: a number where that is exact. */
  integer(bytes: number): number | bigint {
    if (bytes > 16) throw this.fail(`its pickle has an integer of ${bytes} bytes`);
    const digits = this.slice(bytes);
    let value = 0n;
    for (let i = bytes - 1; i >= 0; i--) value = value * 256n + BigInt(digits[i] as number);
    const signed = BigInt.asIntN(8 * bytes, value);
    return Number.isSafeInteger(Number(signed)) ? Number(signed) : signed;
  }
}
