import { tape } from '../autograd/tape.js';
import { OptionError, ShapeError } from '../errors.js';
import type { DType } from '../native.js';
import { show } from '../options.js';
import { checkDType, checkShape, permute as permuteShape, sizeOf, type Tensor } from '../tensor.js';
import { checkAxis } from './axes.js';
import { asRows, cutParts, joinParts } from './boxes.js';
import { asFloat, asTensor, expectShape, oneDevice, type TensorLike } from './check.js';
import { shareSums } from './sums.js';

/**
 * Tensors one after another along an axis, the last when left out; their other axes alike. Two tensors, or a list of any length.
 * f32, or all bf16.
 */
export function concat(a: TensorLike, b: TensorLike, axis?: number): Tensor;
export function concat(parts: readonly TensorLike[], axis?: number): Tensor;
export function concat(first: TensorLike | readonly TensorLike[], second?: TensorLike | number, third?: number): Tensor {
  const isList = Array.isArray(first);
  const given = (isList ? first : [first, second]) as readonly TensorLike[];
  const nameOf = (i: number): string => (isList ? `parts[${i}]` : i === 0 ? 'a' : 'b');
  if (given.length === 0) throw new OptionError("concat: option 'parts' must hold a tensor at least, got an empty list");
  const front = asFloat('concat', nameOf(0), given[0] as TensorLike);
  const parts = given.map((one, i) => (i === 0 ? front : asFloat('concat', nameOf(i), one, front)));
  const device = oneDevice('concat', Object.fromEntries(parts.map((part, i) => [nameOf(i), part])));
  const axis = checkAxis('concat', 'axis', (isList ? second : third) ?? -1, front);
  for (const [i, part] of parts.entries()) expectShape('concat', nameOf(i), part, front.shape.with(axis, part.shape[axis] ?? 1));
  const shapes = parts.map(({ shape }) => shape);
  const length = shapes.reduce((sum, shape) => sum + (shape[axis] as number), 0);
  const shape = front.shape.with(axis, length);
  const y = device.scope(() => (parts.length === 2 ? joinTwo(parts, shape, axis) : joinParts(parts, shape, axis)));
  return tape('concat', y, parts, [], (dy) => (shapes.length === 2 ? cutTwo(dy, shapes, axis) : cutParts(dy, shapes, axis)));
}

/** Along the last axis of rows that hold all that follows from `axis` on. */
function joinTwo(parts: readonly Tensor[], shape: readonly number[], axis: number): Tensor {
  const y = (parts[0] as Tensor).device.empty(shape, (parts[0] as Tensor).dtype);
  const handles = [...parts, y].map((tensor) => tensor.alias(asRows(tensor, axis)).handle);
  y.device.native.concat(...handles);
  return y;
}

function cutTwo(joint: Tensor, shapes: readonly (readonly number[])[], axis: number): Tensor[] {
  const parts = shapes.map((shape) => joint.device.empty(shape, joint.dtype));
  joint.device.native.split(...[joint, ...parts].map((tensor) => tensor.alias(asRows(tensor, axis)).handle));
  return parts;
}

/** The axes in another order: axis a of the result is axis `order[a]` of `x`; a copy. f32 or bf16. */
export function permute(x: TensorLike, order: readonly number[]): Tensor {
  const input = asFloat('permute', 'x', x);
  const { length } = input.shape;
  if (!Array.isArray(order) || order.length !== length || [...order].sort((a, b) => a - b).some((axis, i) => axis !== i))
    throw new OptionError(
      `permute: option 'order' must hold each of the ${length} axes of x [${input.shape}] once, got ${show(order)}`,
    );
  const back = order.map((_, axis) => order.indexOf(axis));
  return tape('permute', permuted(input, order), [input], [], (dy) => [permuted(dy, back)]);
}

/** Two axes exchanged, negative ones counted from the end; a copy. f32 or bf16. */
export function transpose(x: TensorLike, first: number, second: number): Tensor {
  const input = asFloat('transpose', 'x', x);
  const [a, b] = [checkAxis('transpose', 'first', first, input), checkAxis('transpose', 'second', second, input)];
  return permute(
    x,
    input.shape.map((_, axis) => (axis === a ? b : axis === b ? a : axis)),
  );
}

/** Axes that stay neighbours count as one; what has more than four then is moved axis by axis. Not taped. */
function permuted(x: Tensor, order: readonly number[]): Tensor {
  const { device, shape } = x;
  const result = order.map((axis) => shape[axis] as number);
  const heads = order.filter((axis, i) => i === 0 || order[i - 1] !== axis - 1).sort((a, b) => a - b);
  const groups = heads.map((head, i) => sizeOf(shape.slice(head, heads[i + 1] ?? shape.length)));
  const moves = order.filter((axis) => heads.includes(axis)).map((axis) => heads.indexOf(axis));
  return device.scope(() => {
    let y = x;
    const sizes = [...groups];
    const sequence = groups.map((_, i) => i);
    const swap = (before: number, from: number): void => {
      const four = [sizes.slice(0, before), sizes.slice(before, from), [sizes[from] as number], sizes.slice(from + 1)].map(
        sizeOf,
      );
      y = permuted4(y, four, [0, 2, 1, 3]);
      sizes.splice(before, 0, ...sizes.splice(from, 1));
      sequence.splice(before, 0, ...sequence.splice(from, 1));
    };
    if (groups.length <= 4) {
      const missing = 4 - groups.length;
      y = permuted4(
        x,
        [...new Array<number>(missing).fill(1), ...groups],
        [...new Array(missing).keys(), ...moves.map((axis) => axis + missing)],
      );
    } else for (const [i, group] of moves.entries()) if (sequence[i] !== group) swap(i, sequence.indexOf(group));
    return y.alias(result);
  });
}

function permuted4(x: Tensor, shape: readonly number[], order: readonly number[]): Tensor {
  const y = x.device.empty(permuteShape(shape, order), x.dtype);
  x.device.native.permute(x.alias(shape).handle, y.handle, ...order);
  return y;
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
