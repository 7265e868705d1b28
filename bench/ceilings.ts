import { type Device, openDevice } from 'diffusion-native';
import { prepare } from './kernelRuns.js';
import type { Spec } from './kernelSpecs.js';
import type { Ceiling, DTypeName } from './result.js';
import { cpuCache, type Pace, Timed } from './timing.js';

/** Side of the matrices whose product is the ceiling of arithmetic. */
function productSize(device: string): number {
  if (device.startsWith('cuda')) return 8192;
  return device === 'cpu' ? 2048 : 32;
}

/** Bytes of an array whose copy is the ceiling of memory: far beyond the caches. */
function copyBytes(device: string): number {
  if (device.startsWith('cuda')) return 2 ** 32;
  return device === 'cpu' ? Math.max(2 ** 28, 8 * cpuCache()) : 4096;
}

/** What the device can do at most in each element type: the fastest of the timed batches. */
export async function measureCeilings(id: string, threads: number, dtypes: readonly DTypeName[], pace: Pace): Promise<Ceiling[]> {
  const device = await openDevice(id, { threads });
  try {
    const ceilings: Ceiling[] = [];
    for (const dtype of dtypes) {
      const [n, count] = [productSize(id), copyBytes(id) / (dtype === 'bf16' ? 2 : 4)];
      const product = await fastest(device, { kind: 'gemm', n }, dtype, pace);
      const copy = await fastest(device, { kind: 'copy', n: count }, dtype, pace);
      ceilings.push({ dtype, flopsPerSecond: (2 * n ** 3) / product, bytesPerSecond: (2 * copyBytes(id)) / copy });
    }
    return ceilings;
  } finally {
    await device.close();
  }
}

async function fastest(device: Device, spec: Spec, dtype: DTypeName, pace: Pace): Promise<number> {
  const operation = prepare(device, spec, dtype);
  const program = device.record(operation.run);
  const timed = await Timed.prepare(device, program, 1, pace);
  const seconds = Math.min(...(await timed.measure(pace.batches)));
  program.dispose();
  operation.dispose();
  return seconds;
}
