import { setImmediate as nextTurn } from 'node:timers/promises';

/** Longest stretch of arithmetic between two turns of the event loop, in milliseconds. */
const sliceMilliseconds = 2;

/**
 * Calls `body(0)` … `body(count - 1)` in order, returning to the event loop about every 2 ms.
 * One call of `body` should take microseconds. Rejects with the signal's reason once it is aborted.
 */
export async function forEachInSlices(count: number, body: (index: number) => void, signal?: AbortSignal): Promise<void> {
  let sliceEnd = performance.now() + sliceMilliseconds;
  for (let index = 0; index < count; index++) {
    if (performance.now() > sliceEnd) {
      await nextTurn();
      signal?.throwIfAborted();
      sliceEnd = performance.now() + sliceMilliseconds;
    }
    body(index);
  }
}

/** For work whose pieces wait for what is often there at once: such waiting alone does not let the event loop turn. */
export class Slices {
  #end = 0;

  /** Returns to the event loop if that has not happened here for about 2 ms. */
  async next(): Promise<void> {
    if (performance.now() < this.#end) return;
    await nextTurn();
    this.#end = performance.now() + sliceMilliseconds;
  }
}
