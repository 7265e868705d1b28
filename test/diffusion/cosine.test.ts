import { expect, test } from 'vitest';
import { cosine } from '../../lib/diffusion/cosine.js';

const bits = 160n;
const one = 1n << bits;
/** Exact for numbers of at least 2^-100. */
const fixed = (value: number): bigint => BigInt(value * 2 ** 152) << (bits - 152n);

/** The Taylor series in whole numbers. */
function exactCosine(t: number): bigint {
  const square = (fixed(t) * fixed(t)) >> bits;
  let sum = one;
  let term = one;
  for (let k = 2n; term !== 0n; k += 2n) {
    term = -((term * square) >> bits) / (k * (k - 1n));
    sum += term;
  }
  return sum;
}

test('cosine is rounded to the nearest number, where Math.cos is not always', () => {
  let misses = 0;
  for (let i = 0; i < 3000; i++) {
    const t = (i / 3000) * (Math.PI / 2);
    const exact = exactCosine(t);
    const got = cosine(t);
    const ulp = 2 ** (Math.floor(Math.log2(got)) - 52);
    const error = Math.abs(Number(fixed(got) - exact) / Number(fixed(ulp)));
    expect(error, `ulps at ${t}`).toBeLessThan(0.5001);
    if (Math.cos(t) !== got) misses++;
  }
  expect(misses).toBeGreaterThan(0);
  expect(cosine(0)).toBe(1);
});
