import { tape } from '../autograd/tape.js';
import { OptionError } from '../errors.js';
import { show } from '../options.js';
import type { Tensor } from '../tensor.js';
import { repeatTo, sumTo } from './broadcast.js';
import { asFloat, type TensorLike } from './check.js';
import { checkBoolean, checkNames } from './options.js';

/** Options of `ops.sum` and `ops.mean`. */
export interface ReduceOptions {
  /** The axes that are summed over, negative ones from the end; all when left out. */
  axes?: number | readonly number[];
  /** Leave axes of one element in their place. */
  keepDims?: boolean;
}

/** @internal */
export const reduceNames = ['axes', 'keepDims'];

/** Sum over axes of an f32 or bf16 tensor, of the same element type; added up in f64. Over all axes: [1]. */
export function sum(x: TensorLike, options: ReduceOptions = {}): Tensor {
  return over('sum', x, options, () => 1);
}

/** Mean over axes. @internal */
export function meanOver(x: TensorLike, options: ReduceOptions): Tensor {
  return over('mean', x, options, (count) => 1 / count);
}

function over(operation: string, x: TensorLike, options: ReduceOptions, factor: (count: number) => number): Tensor {
  checkNames(operation, options, reduceNames);
  const { keepDims = false } = options;
  checkBoolean(operation, 'keepDims', keepDims);
  const input = asFloat(operation, 'x', x);
  const { device, shape, dtype } = input;
  const gone = new Set(options.axes === undefined ? shape.keys() : toAxes(operation, options.axes, shape));
  const kept = shape.map((axis, i) => (gone.has(i) ? 1 : axis));
  const scale = factor([...gone].reduce((count, axis) => count * (shape[axis] as number), 1));
  const result = keepDims ? kept : shape.filter((_, i) => !gone.has(i));
  const y = device.scope(() => sumTo(input, null, kept, dtype, scale).alias(result.length > 0 ? result : [1]));
  return tape(operation, y, [input], [], (dy) => [repeatTo(dy.alias(kept), shape, scale)]);
}

/** Axes of a shape, counted from the front. */
function toAxes(operation: string, axes: unknown, shape: readonly number[]): number[] {
  const all = (Array.isArray(axes) ? axes : [axes]) as readonly unknown[];
  const counted = all.map((axis) => countAxis(axis, shape.length));
  if (counted.includes(-1) || new Set(counted).size !== counted.length)
    throw new OptionError(
      `${operation}: option 'axes' must be different integers in [${-shape.length}, ${shape.length}), the axes of x [${shape}]; ` +
        `got ${show(axes)}`,
    );
  return counted;
}

/** An axis counted from the front, −1 for none. */
function countAxis(axis: unknown, rank: number): number {
  if (!Number.isInteger(axis) || (axis as number) < -rank || (axis as number) >= rank) return -1;
  return (axis as number) < 0 ? (axis as number) + rank : (axis as number);
}

/** An axis counted from the front. Throws OptionError naming the option. @internal */
export function checkAxis(operation: string, option: string, axis: unknown, { shape }: Tensor): number {
  const counted = countAxis(axis, shape.length);
  if (counted === -1)
    throw new OptionError(
      `${operation}: option '${option}' must be an integer in [${-shape.length}, ${shape.length}) for shape [${shape}], got ${show(axis)}`,
    );
  return counted;
}
