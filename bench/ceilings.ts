import { type Device, openDevice } from 'diffusion-native';
import { workOf } from './floor.js';
import { prepare } from './kernelRuns.js';
import type { Spec } from './kernelSpecs.js';
import type { Ceiling, DTypeName } from './result.js';
import { cpuCache, type Pace, Timed } from './timing.js';

/** A convolution is a product of matrices too, and on some machines a faster one than any written as such. */
const convolution = (n: number, filter: number): Spec => ({
  ...{ kind: 'conv', pass: 'forward', n, size: 32, cin: 256, cout: 256, filter, stride: 1, upsample: false },
});

/** Products of matrices of which the fastest is the ceiling of arithmetic. */
function products(device: string): Spec[] {
  if (device.startsWith('cuda')) return [{ kind: 'gemm', n: 8192 }, convolution(256, 1), convolution(256, 3)];
  if (device === 'cpu') return [{ kind: 'gemm', n: 1024 }, { kind: 'gemm', n: 2048 }, convolution(16, 1), convolution(4, 3)];
  return [{ kind: 'gemm', n: 32 }];
}

/** Bytes of an array that is copied, and changed in place: the faster is the ceiling of memory. It is far beyond the caches. */
function arrayBytes(device: string): number {
  if (device.startsWith('cuda')) return 2 ** 32;
  return device === 'cpu' ? Math.max(2 ** 28, 8 * cpuCache()) : 4096;
}

/** What the device can do at most in each element type: the fastest of the timed batches. */
export async function measureCeilings(id: string, threads: number, dtypes: readonly DTypeName[], pace: Pace): Promise<Ceiling[]> {
  const device = await openDevice(id, { threads });
  try {
    const ceilings: Ceiling[] = [];
    for (const dtype of dtypes) {
      const passes = (['copy', 'update'] as const).map(
        (kind): Spec => ({ kind, n: arrayBytes(id) / (dtype === 'bf16' ? 2 : 4) }),
      );
      const [flopsPerSecond, bytesPerSecond] = [
        await fastest(device, products(id), 'flops', dtype, pace),
        await fastest(device, passes, 'bytes', dtype, pace),
      ];
      ceilings.push({ dtype, flopsPerSecond, bytesPerSecond });
    }
    return ceilings;
  } finally {
    await device.close();
  }
}

/** FLOPs or bytes a second of the fastest batch of the fastest operation. */
async function fastest(
  device: Device,
  specs: readonly Spec[],
  of: 'flops' | 'bytes',
  dtype: DTypeName,
  pace: Pace,
): Promise<number> {
  let most = 0;
  for (const spec of specs) {
    const operation = prepare(device, spec, dtype);
    const program = device.record(operation.run);
    const timed = await Timed.prepare(device, program, 1, pace);
    const seconds = Math.min(...(await timed.measure(pace.batches)));
    most = Math.max(most, workOf(program.commands)[of] / seconds);
    program.dispose();
    operation.dispose();
  }
  return most;
}
