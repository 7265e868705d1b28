import { availableParallelism } from 'node:os';

/** Images decoded at once: libuv has four threads for it. */
export const concurrency = Math.max(2, Math.min(4, availableParallelism()));

/** What every loader that decodes many images accepts. */
export interface LoadingOptions {
  /** Called after each image with the number done and the total. */
  onProgress?: ((done: number, total: number) => void) | undefined;
  /** Stops the loading between two images; the promise rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
}

/**
 * Runs `task(0)` … `task(count - 1)`, two to four at a time. The first failure stops the rest; the promise rejects with it
 * once no task is running any more.
 */
export async function forEachConcurrent(
  count: number,
  task: (index: number) => Promise<void>,
  { onProgress, signal }: LoadingOptions,
): Promise<void> {
  let next = 0;
  let done = 0;
  let failed = false;
  const worker = async () => {
    try {
      while (next < count && !failed) {
        signal?.throwIfAborted();
        await task(next++);
        done++;
        if (!failed) onProgress?.(done, count);
      }
    } catch (error) {
      failed = true;
      throw error;
    }
  };
  const outcomes = await Promise.allSettled(Array.from({ length: concurrency }, worker));
  const failure = outcomes.find((outcome) => outcome.status === 'rejected');
  if (failure) throw failure.reason;
}
