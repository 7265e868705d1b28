import { normals } from './philox.js';

/** Standard normal values of their own for each seed, by the reference implementation of the generator. */
export function randomValues(size: number, seed: number): Float32Array {
  return normals({ seed, stream: 7 }, 0, size);
}

/** The same numbers in float64. */
export function widen(values: ArrayLike<number>): Float64Array {
  return Float64Array.from(values);
}

export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((size, axis) => size * axis, 1);
}

/** 2^-24: half a unit in the last place of a float32 near 1. */
export const eps32 = 2 ** -24;

/** Relative error of a float32 sum of so many terms of random sign: c·eps·√terms. */
export function tolerance(terms: number, c = 4): number {
  return c * eps32 * Math.sqrt(terms);
}

/** Each value rounded to the nearest bf16, ties to even, as a float32. */
export function toBf16(values: ArrayLike<number>): Float32Array {
  const rounded = Float32Array.from(values);
  const bits = new Uint32Array(rounded.buffer);
  for (const [i, word] of bits.entries())
    if (!Number.isNaN(rounded[i])) bits[i] = (word + 0x7fff + ((word >>> 16) & 1)) & 0xffff0000;
  return rounded;
}
