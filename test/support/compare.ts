export { relativeL2 as relL2 } from '../../lib/verification/check.js';

/** max |a - b|; NaN when the lengths differ or a value is NaN, so that every `<` fails. */
export function maxAbs(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Number.NaN;
  let largest = 0;
  for (let i = 0; i < b.length; i++) largest = Math.max(largest, at(a, i) === at(b, i) ? 0 : Math.abs(at(a, i) - at(b, i)));
  return largest;
}

/** max |a - b| / |b|, where b is the reference; equal values (zeros too) count as 0. */
export function maxRelative(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Number.NaN;
  let largest = 0;
  for (let i = 0; i < b.length; i++) {
    largest = Math.max(largest, at(a, i) === at(b, i) ? 0 : Math.abs((at(a, i) - at(b, i)) / at(b, i)));
  }
  return largest;
}

function at(values: ArrayLike<number>, i: number): number {
  return values[i] as number;
}
