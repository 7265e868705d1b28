import { expect, it } from 'vitest';
import { sortedInSlices } from '../../lib/data/sortedInSlices.js';

it.each([0, 1, 2, 511, 512, 513, 1025, 5000])('sorts %i values, equal ones in the order they came', async (length) => {
  const values = Array.from({ length }, (_, at) => ({ key: (Math.imul(at + 1, 0x9e3779b1) >>> 8) % 97, at }));
  const compare = (a: { key: number }, b: { key: number }) => a.key - b.key;
  expect(await sortedInSlices(values, compare)).toEqual(values.toSorted(compare));
});
