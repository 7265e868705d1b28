import { DTypeError } from './errors.js';
import type { DataArray, DType } from './native.js';
import { show } from './options.js';

/** The array that holds values of an element type on the host. */
export const arrayOf = { f32: Float32Array, bf16: Float32Array, u8: Uint8Array, i32: Int32Array } as const;
const integerRange: Partial<Record<DType, readonly [number, number]>> = { u8: [0, 255], i32: [-(2 ** 31), 2 ** 31 - 1] };

/** Arrays from this size on are not cleared first: clearing 100 MB would hold up the event loop for tens of milliseconds. */
const clearedBelow = 1 << 16;

/** An array for values that are about to be overwritten, every one of them. */
export function uninitialised<T>(
  Type: { new (buffer: ArrayBuffer): T; new (length: number): T; BYTES_PER_ELEMENT: number },
  length: number,
): T {
  const bytes = length * Type.BYTES_PER_ELEMENT;
  if (bytes < clearedBelow) return new Type(length);
  return new Type(Buffer.allocUnsafeSlow(bytes).buffer as ArrayBuffer);
}

/** The element type that an array holds by itself. */
export function dtypeOf(array: DataArray): 'f32' | 'u8' | 'i32' {
  return array instanceof Float32Array ? 'f32' : array instanceof Uint8Array ? 'u8' : 'i32';
}

/** Accepts the documented kinds of data; plain numbers become the array that suits `dtype`. */
export function toArray(operation: string, data: unknown, dtype: DType | undefined): DataArray {
  if (data instanceof Float32Array || data instanceof Int32Array) return data;
  if (data instanceof Uint8Array) return data;
  if (data instanceof Uint8ClampedArray) return new Uint8Array(data.buffer, data.byteOffset, data.length);
  if (Array.isArray(data)) {
    const range = dtype && integerRange[dtype];
    const fits = (value: unknown) =>
      typeof value === 'number' && (!range || (Number.isInteger(value) && value >= range[0] && value <= range[1]));
    const wrong = data.findIndex((value) => !fits(value));
    const kind = range ? `integers from ${range[0]} to ${range[1]}` : 'numbers';
    if (wrong >= 0) throw new DTypeError(`${operation}: data must be ${kind}, element ${wrong} is ${show(data[wrong])}`);
    return arrayOf[dtype ?? 'f32'].from(data as number[]);
  }
  throw new DTypeError(
    `${operation}: data must be a Float32Array, Uint8Array, Int32Array or an array of numbers, got ${show(data)}`,
  );
}
