// How the files of bench/peers/reference.ts are read and compared, without the package.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Images of the input. */
export const images = 2;
/** Evaluations of the DDIM that is checked. */
export const checkedEvaluations = 5;

function bytes(folder: string, name: string): ArrayBuffer {
  return Uint8Array.from(readFileSync(join(folder, name))).buffer;
}

export const floats = (folder: string, name: string): Float32Array => new Float32Array(bytes(folder, name));
export const integers = (folder: string, name: string): Int32Array => new Int32Array(bytes(folder, name));

/** ‖a − b‖ / ‖b‖ */
export function relative(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let difference = 0;
  let size = 0;
  for (let i = 0; i < b.length; i++) {
    difference += ((a[i] as number) - (b[i] as number)) ** 2;
    size += (b[i] as number) ** 2;
  }
  return Math.sqrt(difference / size);
}
