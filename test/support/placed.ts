import { test } from 'vitest';
import type { Device } from '../../lib/device.js';
import type { Tensor } from '../../lib/tensor.js';
import { eachDevice, openForBf16 } from './devices.js';
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

/** A test of tensors that `Placed` makes. */
type PlacedTest = (name: string, body: (placed: Placed, device: Device) => Promise<void>) => void;

/** Defines tests on every device that computes in bf16, of tensors at the beginning of memory and off it. */
export function eachPlacement(define: (on: PlacedTest) => void): void {
  eachDevice((id, open) =>
    define((name, body) => {
      for (const shift of [0, 1])
        test(`${name}, ${shift} into memory, in bf16 on ${id}`, async (context) => {
          const device = await openForBf16(open, context);
          await body(new Placed(device, shift), device);
        });
    }),
  );
}
