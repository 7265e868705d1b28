import type { Tensor } from '../tensor.js';
import type { Stored } from './vectors.js';

/** One comparison with the reference. */
export interface Check {
  /** What was computed: 'network d1_cifar_style'. */
  name: string;
  /** What of it was compared, and in which measure. */
  quantity: string;
  error: number;
  tolerance: number;
  passed: boolean;
}

export function check(name: string, quantity: string, error: number, tolerance: number): Check {
  return { name, quantity, error, tolerance, passed: error <= tolerance };
}

/** ‖a − b‖ / ‖b‖; NaN, which no tolerance admits, when the lengths differ. */
export function relativeL2(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Number.NaN;
  let difference = 0;
  let reference = 0;
  for (let i = 0; i < b.length; i++) {
    difference += ((a[i] as number) - (b[i] as number)) ** 2;
    reference += (b[i] as number) ** 2;
  }
  return reference === 0 ? Math.sqrt(difference) : Math.sqrt(difference / reference);
}

/** The largest |a − b| of each of `examples` equal parts over that part's largest |b| plus `floor`; the worst of them. NaN as above. */
export function relativeMaximum(a: ArrayLike<number>, b: ArrayLike<number>, examples = 1, floor = 0): number {
  if (a.length !== b.length) return Number.NaN;
  const size = b.length / examples;
  let worst = 0;
  for (let n = 0; n < examples; n++) {
    let difference = 0;
    let scale = floor;
    for (let i = n * size; i < (n + 1) * size; i++) {
      const distance = Math.abs((a[i] as number) - (b[i] as number));
      difference = distance > difference || Number.isNaN(distance) ? distance : difference;
      scale = Math.max(scale, Math.abs(b[i] as number) + floor);
    }
    const error = difference === 0 ? 0 : difference / scale;
    worst = error > worst || Number.isNaN(error) ? error : worst;
  }
  return worst;
}

/** Values in the reference's layout; one number a sample is repeated over the sample's elements where the reference has them all. */
export async function read(tensor: Tensor, like: Stored): Promise<ArrayLike<number>> {
  const values = tensor.shape.length === 4 ? await tensor.read({ layout: 'nchw' }) : await tensor.read();
  if (tensor.shape.length !== 1 || like.values.length === values.length) return values;
  const size = like.values.length / values.length;
  return Float32Array.from(like.values, (_, i) => values[Math.floor(i / size)] as number);
}
