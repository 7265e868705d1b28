import { FileFormatError } from '../../errors.js';
import { uninitialised } from '../../hostArrays.js';
import { Slices } from '../../slices.js';
import { elementReader, type TorchDType, torchElementBytes } from './storages.js';

/** Bytes that tensors are views of. */
export class TorchStorage {
  /**
   * @param key as the file calls it
   * @param dtype null: each tensor says it
   * @param read reads the bytes from `begin` to `end`
   */
  constructor(
    readonly key: string,
    readonly dtype: TorchDType | null,
    readonly bytes: number,
    readonly read: (begin: number, end: number) => Promise<Uint8Array>,
  ) {}
}

/** Elements converted between two looks at the clock. */
const sliceElements = 1 << 14;

/** A tensor of a PyTorch file: a view of a storage, strides and offset in elements. */
export class TorchTensor {
  constructor(
    readonly storage: TorchStorage,
    readonly dtype: TorchDType,
    readonly shape: readonly number[],
    readonly strides: readonly number[],
    readonly offset: number,
  ) {}

  /**
   * The values, row-major, rounded to float32 where they are float64.
   * @throws FileFormatError when they are no real numbers, or when the storage cannot be read.
   */
  async float32(): Promise<Float32Array> {
    const { dtype, shape, storage, offset } = this;
    const count = shape.reduce((product, size) => product * size, 1);
    const values = uninitialised(Float32Array, count);
    if (count === 0) return values;
    const element = torchElementBytes[dtype];
    const bytes = await storage.read(element * offset, element * (offset + this.span));
    const contiguous = this.isContiguous();
    if (dtype === 'F32' && contiguous && bytes.byteOffset % 4 === 0)
      return new Float32Array(bytes.buffer, bytes.byteOffset, count);
    const read = elementReader(dtype, bytes);
    if (read === null) throw new FileFormatError(`must be F64, F32, F16 or BF16, got ${dtype}`);
    const slices = new Slices();
    const walk = new StridedWalk(shape, this.strides);
    for (let begin = 0; begin < count; begin += sliceElements) {
      await slices.next();
      const end = Math.min(begin + sliceElements, count);
      if (contiguous) for (let i = begin; i < end; i++) values[i] = read(i);
      else for (let i = begin; i < end; i++) values[i] = read(walk.next());
    }
    return values;
  }

  /** Elements from the first to the last that belongs to it. */
  get span(): number {
    return this.shape.reduce((last, size, axis) => last + (size - 1) * (this.strides[axis] as number), 0) + 1;
  }

  private isContiguous(): boolean {
    let expected = 1;
    for (let axis = this.shape.length - 1; axis >= 0; axis--) {
      const size = this.shape[axis] as number;
      if (size !== 1 && this.strides[axis] !== expected) return false;
      expected *= size;
    }
    return true;
  }
}

/** The places of a strided tensor's elements, in row-major order of its axes. */
class StridedWalk {
  readonly #index: number[];
  #at = 0;

  constructor(
    readonly shape: readonly number[],
    readonly strides: readonly number[],
  ) {
    this.#index = shape.map(() => 0);
  }

  next(): number {
    const place = this.#at;
    for (let axis = this.shape.length - 1; axis >= 0; axis--) {
      const [size, stride] = [this.shape[axis] as number, this.strides[axis] as number];
      const next = (this.#index[axis] as number) + 1;
      this.#at += stride;
      this.#index[axis] = next;
      if (next < size) break;
      this.#at -= stride * size;
      this.#index[axis] = 0;
    }
    return place;
  }
}
