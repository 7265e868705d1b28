/** ‖a - b‖₂ / ‖b‖₂, where b is the reference; NaN when the lengths differ, so that every `<` fails. */
export function relL2(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Number.NaN;
  let difference = 0;
  let reference = 0;
  for (let i = 0; i < b.length; i++) {
    difference += (at(a, i) - at(b, i)) ** 2;
    reference += at(b, i) ** 2;
  }
  return reference === 0 ? Math.sqrt(difference) : Math.sqrt(difference / reference);
}

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
