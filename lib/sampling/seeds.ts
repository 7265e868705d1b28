import { randomFillSync } from 'node:crypto';
import type { Device } from '../device.js';
import { toRng } from '../random.js';
import { Tensor } from '../tensor.js';

/** A seed as native code reads it: key (low, high), and what is added to every step and sample index. */
export type SeedState = readonly [low: number, high: number, step: number, first: number];

/** Throws DTypeError, DeviceMismatchError or OptionError unless this is a seed or left out. */
export function checkSeed(operation: string, device: Device, seed: unknown): void {
  if (seed !== undefined) toRng(operation, device, { seed: seed as Tensor });
}

/** The values of a checked seed; a random one when it is left out. */
export async function readSeed(seed: number | Tensor | undefined): Promise<SeedState> {
  if (seed instanceof Tensor) {
    const [low = 0, high = 0, step = 0, first = 0] = await seed.read();
    return [low, high, step, first];
  }
  if (seed !== undefined) return [seed % 2 ** 32, Math.floor(seed / 2 ** 32), 0, 0];
  const [low, high] = randomFillSync(new Uint32Array(2)) as unknown as [number, number];
  return [low, high, 0, 0];
}
