import type { Sampler } from '../sampling/sampler.js';

/** Which samples are drawn. */
interface DrawRequest {
  count: number;
  first: number;
  seed: number;
  batchSize: number;
  /** Classes, repeated as needed. */
  labels: ArrayLike<number> | undefined;
  guidance?: number;
  signal: AbortSignal;
}

/** Samples of a seed, a batch after the other, as f32 [count, …shape]; `onStep` hears of each evaluation of the model. */
export async function drawImages(
  sampler: Sampler,
  { count, first, seed, batchSize, labels, guidance, signal }: DrawRequest,
  onStep: (done: number) => void,
): Promise<{ images: Float32Array; shape: readonly number[] }> {
  const batches: Float32Array[] = [];
  let shape: readonly number[] = [];
  for (let done = 0; done < count; done += batchSize) {
    const size = Math.min(batchSize, count - done);
    const classes = labels && Array.from({ length: size }, (_, i) => labels[(done + i) % labels.length] as number);
    const request = { count: size, first: first + done, seed, labels: classes, guidance, signal };
    for await (const { step, total, x } of sampler.steps(request)) {
      onStep(batches.length * total + step);
      if (step < total) continue;
      batches.push((await x.read()) as Float32Array);
      shape = x.shape.slice(1);
    }
  }
  return { images: concatenate(batches), shape };
}

function concatenate(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
