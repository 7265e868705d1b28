import { Parameter } from '../autograd/parameter.js';
import { type Edge, tape } from '../autograd/tape.js';
import { ShapeError } from '../errors.js';
import type { DType } from '../native.js';
import type { Tensor } from '../tensor.js';
import { asFloat, asTensor, oneDevice, type TensorLike } from './check.js';

/**
 * y = a + b, element types alike. Shapes alike, or a tensor is repeated along axes of one element and along axes that it lacks in
 * front, as in NumPy. Like all maps here: f32 or bf16, the result too; arithmetic in f32. A parameter suits both.
 */
export function add(a: TensorLike, b: TensorLike): Tensor {
  return sum('add', a, b, 1);
}

/** y = a − b, shapes and element types as for `add`. */
export function sub(a: TensorLike, b: TensorLike): Tensor {
  return sum('sub', a, b, -1);
}

function sum(operation: string, a: TensorLike, b: TensorLike, sign: number): Tensor {
  const { x, z, y } = operands(operation, a, b);
  const { native } = y.device;
  if (sign === 1 && alike(x, y) && alike(z, y)) native.add(x.handle, z.handle, y.handle);
  else if (x.dtype === y.dtype) native.broadcast(x.handle, z.handle, y.handle, false, 1, sign);
  else native.broadcast(z.handle, x.handle, y.handle, false, sign, 1);
  const [first, second] = [target(x), target(z)];
  return tape(operation, y, [x, z], [], (dy) => [gradient(dy, null, first, 1), gradient(dy, null, second, sign)]);
}

/** y = a · b element by element, shapes and element types as for `add`. */
export function mul(a: TensorLike, b: TensorLike): Tensor {
  const { x, z, y } = operands('mul', a, b);
  multiply(x, z, y);
  const [first, second] = [target(x), target(z)];
  const saved = [second.edge ? x : null, first.edge ? z : null];
  return tape('mul', y, [x, z], saved, (dy, [x, z]) => [gradient(dy, z, first, 1), gradient(dy, x, second, 1)]);
}

function multiply(a: Tensor, b: Tensor, y: Tensor): void {
  const { native } = y.device;
  if (alike(a, y) && alike(b, y)) native.mul(a.handle, b.handle, y.handle);
  else if (a.dtype === y.dtype) native.broadcast(a.handle, b.handle, y.handle, true, 1, 0);
  else native.broadcast(b.handle, a.handle, y.handle, true, 1, 0);
}

/** The tensors of two operands, and an empty one for the result. */
function operands(operation: string, a: TensorLike, b: TensorLike): { x: Tensor; z: Tensor; y: Tensor } {
  const one = a instanceof Parameter ? asTensor(operation, 'a', a) : asFloat(operation, 'a', a);
  const other =
    b instanceof Parameter ? asTensor(operation, 'b', b) : asFloat(operation, 'b', b, a instanceof Parameter ? undefined : one);
  const device = oneDevice(operation, { a: one, b: other });
  const dtype = a instanceof Parameter ? other.dtype : one.dtype;
  return { x: one, z: other, y: device.empty(commonShape(operation, one, other), dtype) };
}

const sameShape = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((axis, i) => axis === b[i]);

const alike = (a: Tensor, b: Tensor): boolean => a.dtype === b.dtype && sameShape(a.shape, b.shape);

function commonShape(operation: string, a: Tensor, b: Tensor): number[] {
  const rank = Math.max(a.shape.length, b.shape.length);
  const from = ({ shape }: Tensor, axis: number): number => shape[axis - rank + shape.length] ?? 1;
  return Array.from({ length: rank }, (_, axis) => {
    const [first, second] = [from(a, axis), from(b, axis)];
    if (first !== second && first !== 1 && second !== 1)
      throw new ShapeError(`${operation}: b [${b.shape}] does not go with a [${a.shape}]: axes must be equal, or one of them 1`);
    return Math.max(first, second);
  });
}

/** What a gradient must look like. */
interface GradientShape {
  edge: Edge | null;
  shape: readonly number[];
  dtype: DType;
}

const target = ({ edge, shape, dtype }: Tensor): GradientShape => ({ edge, shape, dtype });

/** factor · Σ dy·other over the axes along which the operand was repeated. */
function gradient(dy: Tensor, other: Tensor | null | undefined, to: GradientShape, factor: number): Tensor | null {
  if (!to.edge) return null;
  const { device } = dy;
  if (to.dtype !== dy.dtype || !sameShape(to.shape, dy.shape)) return sumTo(dy, other ?? null, to.shape, to.dtype, factor);
  if (!other && factor === 1) return dy.alias();
  const d = device.empty(dy.shape, dy.dtype);
  if (other) multiply(dy, other, d);
  else device.native.scale(dy.handle, d.handle, factor, 0);
  return d;
}

/** scale · Σ x·z, summed to a shape that repeats to that of x. Not taped. @internal */
export function sumTo(x: Tensor, z: Tensor | null, shape: readonly number[], dtype: DType, scale: number): Tensor {
  const y = x.device.empty(shape, dtype);
  x.device.native.reduceSum(x.handle, z?.handle ?? 0, y.handle, scale);
  return y;
}

/** scale · x, repeated to a shape. Not taped. @internal */
export function repeatTo(x: Tensor, shape: readonly number[], scale: number): Tensor {
  const y = x.device.empty(shape, x.dtype);
  x.device.native.broadcast(x.handle, 0, y.handle, false, scale, 0);
  return y;
}
