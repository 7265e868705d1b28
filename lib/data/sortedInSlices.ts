import { forEachInSlices } from '../slices.js';

/** Sorted at once: well below a millisecond. */
const runLength = 512;

/** The values in order, by a merge sort that returns to the event loop about every 2 ms. Equal values keep their order. */
export async function sortedInSlices<T>(values: readonly T[], compare: (a: T, b: T) => number): Promise<T[]> {
  let runs: T[][] = [];
  await forEachInSlices(Math.ceil(values.length / runLength), (run) => {
    runs.push(values.slice(run * runLength, (run + 1) * runLength).sort(compare));
  });
  while (runs.length > 1) {
    const merged: T[][] = [];
    for (let run = 0; run < runs.length; run += 2) merged.push(await merge(runs[run] as T[], runs[run + 1] ?? [], compare));
    runs = merged;
  }
  return runs[0] ?? [];
}

async function merge<T>(a: readonly T[], b: readonly T[], compare: (a: T, b: T) => number): Promise<T[]> {
  const merged: T[] = [];
  let [fromA, fromB] = [0, 0];
  await forEachInSlices(a.length + b.length, () => {
    const takeA = fromB === b.length || (fromA < a.length && compare(a[fromA] as T, b[fromB] as T) <= 0);
    merged.push((takeA ? a[fromA++] : b[fromB++]) as T);
  });
  return merged;
}
