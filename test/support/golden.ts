import { readFileSync } from 'node:fs';
import { readSafetensors } from '../../lib/files/safetensors.js';
import { goldenPath } from './shared.js';

/** A reference tensor: values widened or narrowed to float32, row-major, NCHW where it is an image. */
export interface GoldenTensor {
  shape: readonly number[];
  values: Float32Array;
}

/** All tensors of a reference file; a relative path is one of the project's selection. */
export async function loadGolden(path: string): Promise<Map<string, GoldenTensor>> {
  const { tensors } = await readSafetensors(path.startsWith('/') ? path : goldenPath(path));
  const loaded = new Map<string, GoldenTensor>();
  for (const tensor of tensors.values()) {
    const values = await tensor.data();
    loaded.set(tensor.name, { shape: tensor.shape, values: Float32Array.from(values as ArrayLike<number>, Number) });
  }
  return loaded;
}

/** A reference description; a relative path is one of the project's selection. */
export function loadGoldenJson<T>(path: string): T {
  return JSON.parse(readFileSync(path.startsWith('/') ? path : goldenPath(path), 'utf8')) as T;
}

/** Entry k of tensors that are stacked on axis 0. */
export function entryOf({ shape, values: stack }: GoldenTensor, k: number): GoldenTensor {
  const [, ...rest] = shape;
  const size = rest.reduce((product, axis) => product * axis, 1);
  return { values: stack.subarray(k * size, (k + 1) * size), shape: rest };
}
