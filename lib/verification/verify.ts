import type { Device } from '../device.js';
import type { Check } from './check.js';
import { verifyLosses } from './losses.js';
import { verifyNetworks } from './networks.js';
import { verifyOptimizer } from './optimizer.js';
import { verifyProcess } from './process.js';
import { verifySamplers } from './samplers.js';
import { verifySchedules } from './schedules.js';
import type { Vectors } from './vectors.js';

/** Every comparison with the reference numbers, as it is made. Computes in f32; leaves nothing on the device. */
export async function* verify(device: Device, vectors: Vectors, signal?: AbortSignal): AsyncGenerator<Check> {
  for (const part of [verifySchedules(vectors), ...parts.map((run) => run(device, vectors))])
    for await (const check of part) {
      signal?.throwIfAborted();
      yield check;
    }
}

const parts = [verifyProcess, verifyLosses, verifySamplers, verifyNetworks, verifyOptimizer];
