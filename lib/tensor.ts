import * as v from 'valibot';
import type { Edge } from './autograd/tape.js';
import type { Device } from './device.js';
import { DisposedError, DTypeError, ShapeError } from './errors.js';
import { arrayOf, dtypeOf, toArray, uninitialised } from './hostArrays.js';
import { completion, type DataArray, type DType, dtypes, type Handle } from './native.js';
import { oneOf, parseOptions, show } from './options.js';

/** Order of the axes of an image in memory: NHWC is the engine's own. */
export type Layout = 'nhwc' | 'nchw';

/** Uploads up to this size are copied at once; larger ones are read by the executor, so that the event loop does not wait. */
const copiedAtOnce = 1 << 20;

/** Memory: counts the writes in place. @internal */
export interface Cell {
  version: number;
}

/**
 * A dense array on a device. Operations return new tensors at once and compute them later, in order. `dispose()` drops this
 * handle only: recorded graphs, pending reads and programs keep what they use.
 */
export class Tensor {
  /** Where its values are. */
  readonly device: Device;
  /** Sizes of the axes; images are [batch, height, width, channels]. */
  readonly shape: readonly number[];
  /** Type of its elements. */
  readonly dtype: DType;
  /** How it was computed, while gradients are wanted. @internal */
  edge: Edge | null = null;
  /** Shared by all handles to the same memory. @internal */
  readonly cell: Cell;
  /** Sums over its pixels that the convolution left which made it, good for this version of the contents. @internal */
  sums: { readonly tensor: Tensor; readonly version: number } | null = null;
  #handle: Handle;

  /** @internal Use `device.tensor` and the operations. */
  constructor(device: Device, handle: Handle, shape: readonly number[], dtype: DType, cell: Cell = { version: 0 }) {
    this.device = device;
    this.#handle = handle;
    this.shape = shape;
    this.dtype = dtype;
    this.cell = cell;
    device.adopt(this, handle);
  }

  /** Number of elements. */
  get size(): number {
    return sizeOf(this.shape);
  }

  /** Whether this handle has been dropped. */
  get disposed(): boolean {
    return this.#handle === 0;
  }

  /** The native name. @internal */
  get handle(): Handle {
    if (this.#handle === 0) throw new DisposedError(`a tensor of shape [${this.shape}] was used after dispose()`);
    return this.#handle;
  }

  /**
   * The values, once everything enqueued before has run: Float32Array for f32 and bf16, Uint8Array for u8, Int32Array for i32.
   * Rejects with the first failure among the operations that it depends on.
   */
  async read(options?: { layout?: Layout }): Promise<DataArray> {
    const values = this.#read(options);
    return values;
  }

  #read(options: { layout?: Layout } | undefined): Promise<DataArray> {
    const { native } = this.device;
    const layout = checkLayout('read', options, this.shape);
    return this.device.scope(() => {
      let source: Tensor = this;
      if (this.dtype === 'bf16') {
        source = this.device.empty(this.shape, 'f32');
        native.cast(this.handle, source.handle);
      }
      if (layout === 'nchw') {
        const permuted = this.device.empty(permute(this.shape, [0, 3, 1, 2]), source.dtype);
        native.permute(source.handle, permuted.handle, 0, 3, 1, 2);
        source = permuted;
      }
      const values = uninitialised<DataArray>(arrayOf[source.dtype], source.size);
      const done = completion(native.download(source.handle, values), values);
      return () => done.then(() => values);
    })();
  }

  /**
   * Replaces the contents; `data` has as many elements as the tensor. Arrays beyond 1 MB are read until the next
   * `await` of `read` or `synchronize` has passed: leave them unchanged until then.
   */
  write(data: ArrayLike<number> | DataArray, options?: { layout?: Layout }): void {
    const layout = checkLayout('write', options, this.shape);
    const array = toArray('write', data, this.dtype);
    if (array.length !== this.size)
      throw new ShapeError(`write: the tensor has shape [${this.shape}] (${this.size} elements), got ${array.length} elements`);
    const natural = dtypeOf(array);
    const { native } = this.device;
    if (layout === 'nhwc' && natural === this.dtype) this.#upload(array);
    else
      this.device.scope(() => {
        const staged = this.device.empty(layout === 'nchw' ? permute(this.shape, [0, 3, 1, 2]) : this.shape, natural);
        staged.#upload(array);
        const ordered = layout === 'nhwc' ? staged : natural === this.dtype ? this : this.device.empty(this.shape, natural);
        if (ordered !== staged) native.permute(staged.handle, ordered.handle, 0, 2, 3, 1);
        if (ordered !== this) native.cast(ordered.handle, this.handle);
      });
    this.countWrite();
  }

  /** To be called for every write in place. @internal */
  countWrite(): void {
    this.cell.version++;
    if (this.device.recording) this.device.notes?.cellsWritten.add(this.cell);
  }

  #upload(array: DataArray): void {
    const { native, recording } = this.device;
    if (array.byteLength <= copiedAtOnce || recording) {
      native.upload(this.handle, array);
      return;
    }
    const { resizable } = array.buffer as { resizable?: boolean };
    const lasting = resizable ? array.slice() : array; // shrinking a buffer takes its memory away
    completion(native.uploadInPlace(this.handle, lasting), lasting).catch(() => {}); // a fault shows when the tensor is read
  }

  /** Another handle to the same memory, with another shape of as many elements. Not taped. @internal */
  alias(shape: readonly number[] = this.shape, firstElement = 0): Tensor {
    return new Tensor(this.device, this.device.native.alias(this.handle, firstElement, ...shape), shape, this.dtype, this.cell);
  }

  /** Writes a picture of this batch of images in [-1, 1], `columns` a row. Shape [n, h, w, c] with 1, 3 or 4 channels. */
  async savePng(path: string, options: { columns?: number; scale?: number } = {}): Promise<void> {
    const { saveImageGrid } = await import('./files/png.js');
    if (this.shape.length !== 4) throw new ShapeError(`savePng: a batch of images [n, h, w, c] is needed, got [${this.shape}]`);
    if (this.dtype !== 'f32' && this.dtype !== 'bf16')
      throw new DTypeError(`savePng: values in [-1, 1] are needed, got ${this.dtype}`);
    await saveImageGrid(path, (await this.read()) as Float32Array, this.shape as [number, number, number, number], options);
  }

  /** Drops this handle; a second call does nothing. */
  dispose(): void {
    if (this.#handle === 0) return;
    const handle = this.#handle;
    this.#handle = 0;
    this.edge = null;
    this.sums?.tensor.dispose();
    this.sums = null;
    this.device.disown(this, handle);
  }

  /** For `using`: the same as `dispose`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Product of the axes. */
export function sizeOf(shape: readonly number[]): number {
  let size = 1;
  for (const axis of shape) size *= axis;
  return size;
}

/** The axes in another order: axis a of the result is axis `order[a]`. */
export function permute(shape: readonly number[], order: readonly number[]): number[] {
  return order.map((axis) => shape[axis] as number);
}

/** Throws ShapeError unless every axis is a positive integer and there are one to six of them. */
export function checkShape(operation: string, shape: unknown): asserts shape is readonly number[] {
  const good =
    Array.isArray(shape) &&
    shape.length >= 1 &&
    shape.length <= 6 &&
    shape.every((axis) => Number.isSafeInteger(axis) && axis >= 1);
  if (!good) throw new ShapeError(`${operation}: a shape is one to six positive integers, got ${show(shape)}`);
}

export function checkDType(operation: string, dtype: unknown): asserts dtype is DType {
  if (typeof dtype !== 'string' || !Object.hasOwn(dtypes, dtype))
    throw new DTypeError(`${operation}: dtype must be one of ${Object.keys(dtypes).join(', ')}, got ${show(dtype)}`);
}

const layoutSchema = v.strictObject({ layout: v.optional(oneOf('nhwc', 'nchw')) });

function checkLayout(operation: string, options: unknown, shape: readonly number[]): Layout {
  if (options === undefined) return 'nhwc';
  const { layout = 'nhwc' } = parseOptions(operation, layoutSchema, options);
  if (layout === 'nchw' && shape.length !== 4)
    throw new ShapeError(`${operation}: layout 'nchw' needs four axes, the shape is [${shape}]`);
  return layout;
}
