import { tape } from '../autograd/tape.js';
import { ShapeError } from '../errors.js';
import type { DType } from '../native.js';
import { checkDType, checkShape, sizeOf, type Tensor } from '../tensor.js';
import { asFloat, asTensor, channelsOf, expectShape, oneDevice, type TensorLike } from './check.js';
import { shareSums } from './sums.js';

/** [a, b] along the last axis; the other axes alike. */
export function concat(a: TensorLike, b: TensorLike): Tensor {
  const x = asFloat('concat', 'a', a);
  const z = asFloat('concat', 'b', b, x);
  const device = oneDevice('concat', { a: x, b: z });
  const front = x.shape.slice(0, -1);
  expectShape('concat', 'b', z, [...front, channelsOf(z)]);
  const shapes = [x.shape, z.shape] as const;
  const y = device.empty([...front, channelsOf(x) + channelsOf(z)], x.dtype);
  device.native.concat(x.handle, z.handle, y.handle);
  return tape('concat', y, [x, z], [], (dy) => {
    const da = device.empty(shapes[0], dy.dtype);
    const db = device.empty(shapes[1], dy.dtype);
    device.native.split(dy.handle, da.handle, db.handle);
    return [da, db];
  });
}

/** The same elements in the same order under another shape; memory is shared, nothing is copied. */
export function reshape(x: TensorLike, shape: readonly number[]): Tensor {
  const input = asTensor('reshape', 'x', x, 'f32', 'bf16', 'u8', 'i32');
  checkShape('reshape', shape);
  if (sizeOf(shape) !== input.size)
    throw new ShapeError(
      `reshape: [${shape}] has ${sizeOf(shape)} elements, x [${input.shape}] has ${input.size}; they must be as many`,
    );
  const before = input.shape;
  const y = input.alias([...shape]);
  if (input.sums) shareSums(input, y);
  return tape('reshape', y, [input], [], (dy) => [dy.alias(before)]);
}

/**
 * Conversion between element types: to bf16 and to integers rounds to nearest even, integers saturate. Between f32 and bf16 the
 * gradient passes through, converted back; integers have none.
 */
export function cast(x: TensorLike, dtype: DType): Tensor {
  const input = asTensor('cast', 'x', x, 'f32', 'bf16', 'u8', 'i32');
  checkDType('cast', dtype);
  const y = input.device.empty(input.shape, dtype);
  input.device.native.cast(input.handle, y.handle);
  const differentiable = dtype === 'f32' || dtype === 'bf16';
  const from = input.dtype;
  return differentiable ? tape('cast', y, [input], [], (dy) => [convert(dy, from)]) : y;
}

/** The tensor itself where it has this element type already; else a new one, not taped. */
export function convert(x: Tensor, dtype: DType): Tensor {
  if (x.dtype === dtype) return x;
  const y = x.device.empty(x.shape, dtype);
  x.device.native.cast(x.handle, y.handle);
  return y;
}
