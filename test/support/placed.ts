import type { Device } from '../../lib/device.js';
import type { Tensor } from '../../lib/tensor.js';
import { randomValues, sizeOf, toBf16 } from './values.js';

type Shape = readonly number[];

/** Tensors in bf16 that begin `shift` elements into memory that is NaN everywhere else. */
export class Placed {
  constructor(
    readonly device: Device,
    readonly shift: number,
  ) {}

  of(values: ArrayLike<number>, shape: Shape): Tensor {
    const padded = new Float32Array(values.length + 2 * this.shift).fill(Number.NaN);
    padded.set(values, this.shift);
    return this.device.tensor(padded, [padded.length], { dtype: 'bf16' }).alias(shape, this.shift);
  }

  empty(shape: Shape): Tensor {
    return this.of(new Float32Array(sizeOf(shape)).fill(Number.NaN), shape);
  }

  /** Standard normals that bf16 holds exactly, or some function of them, and the tensor that holds them. */
  random(shape: Shape, seed: number, prepare = (value: number) => value): { values: Float32Array; tensor: Tensor } {
    const values = toBf16(randomValues(sizeOf(shape), seed).map(prepare));
    return { values, tensor: this.of(values, shape) };
  }
}

export const read = (tensor: Tensor) => tensor.read() as Promise<Float32Array>;
