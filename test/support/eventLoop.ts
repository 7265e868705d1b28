import { monitorEventLoopDelay } from 'node:perf_hooks';

/** The delay in milliseconds that 99 of 100 turns stay below, beyond the millisecond between two looks. */
export async function delayDuring(work: () => Promise<unknown>): Promise<number> {
  const histogram = monitorEventLoopDelay({ resolution: 1 });
  histogram.enable();
  await work();
  histogram.disable();
  return histogram.percentile(99) / 1e6 - 1;
}

/** The smallest of a few tries: what else runs on the machine only adds to it. */
export async function quietest(count: number, measure: () => Promise<number>): Promise<number> {
  const tries: number[] = [];
  for (let i = 0; i < count; i++) tries.push(await measure());
  return Math.min(...tries);
}
