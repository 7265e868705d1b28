import { TapeNode, tape } from '../autograd/tape.js';
import { OptionError, ShapeError } from '../errors.js';
import { show } from '../options.js';
import { sizeOf, type Tensor } from '../tensor.js';
import { checkAxis } from './axes.js';
import { asFloat, type TensorLike } from './check.js';
import { checkNames, checkNumber } from './options.js';

const mostAxes = 6;

/** Offsets of the last axes, as the native operations take them. */
const offsets = (given: readonly number[]): number[] => [...new Array<number>(mostAxes - given.length).fill(0), ...given];

/** y[i] = x[i + offset], `value` outside of x. Not taped. */
function moved(x: Tensor, shape: readonly number[], offset: readonly number[], value: number): Tensor {
  const y = x.device.empty(shape, x.dtype);
  x.device.native.pad(x.handle, y.handle, value, ...offsets(offset));
  return y;
}

/** The same, with the transposed copy as its gradient. */
function move(operation: string, x: Tensor, shape: readonly number[], offset: readonly number[], value: number): Tensor {
  const before = x.shape;
  return tape(operation, moved(x, shape, offset, value), [x], [], (dy) => [
    moved(
      dy,
      before,
      offset.map((one) => -one),
      0,
    ),
  ]);
}

/** Options of `ops.pad`. */
export interface PadOptions {
  /** What is put around; 0. */
  value?: number;
}

/** How much `ops.pad` puts around a tensor. */
export type Padding =
  | number
  | readonly [top: number, left: number, bottom: number, right: number]
  | readonly (readonly [before: number, after: number])[];

/**
 * Puts a constant around a tensor. `padding` of images [N, H, W, C]: pixels on all sides, or [top, left, bottom, right]; of any
 * tensor: [before, after] for every axis. f32 or bf16.
 */
export function pad(x: TensorLike, padding: Padding, options: PadOptions = {}): Tensor {
  checkNames('pad', options, ['value']);
  const { value = 0 } = options;
  checkNumber('pad', 'value', value);
  const input = asFloat('pad', 'x', x);
  const { shape } = input;
  const sides = toSides(padding, shape);
  const size = shape.map((axis, i) => axis + (sides[i]?.[0] as number) + (sides[i]?.[1] as number));
  return move(
    'pad',
    input,
    size,
    sides.map(([before]) => -before),
    value,
  );
}

function toSides(padding: unknown, shape: readonly number[]): [before: number, after: number][] {
  const wrong = () =>
    new OptionError(
      `pad: option 'padding' must be [before, after] for each of the ${shape.length} axes of x, or for images an integer of at ` +
        `least 0 or [top, left, bottom, right]; got ${show(padding)}`,
    );
  const given = Array.isArray(padding) ? padding : [padding, padding, padding, padding];
  const perAxis = given.every(Array.isArray);
  if (!perAxis && (shape.length !== 4 || given.length !== 4)) throw wrong();
  const [top, left, bottom, right] = given;
  const sides = (
    perAxis
      ? given
      : [
          [0, 0],
          [top, bottom],
          [left, right],
          [0, 0],
        ]
  ) as [number, number][];
  let good = sides.length === shape.length;
  for (const side of sides) {
    good &&= side.length === 2;
    for (const one of side) good &&= Number.isInteger(one) && one >= 0 && one < 2 ** 30;
  }
  if (!good) throw wrong();
  return sides;
}

/**
 * Elements `start` to `end` (not included) along an axis, negative ones counted from the end as by Array.prototype.slice; a copy.
 * f32 or bf16. Throws ShapeError when nothing is left.
 */
export function slice(x: TensorLike, axis: number, start: number, end?: number): Tensor {
  const input = asFloat('slice', 'x', x);
  const { shape } = input;
  const at = checkAxis('slice', 'axis', axis, input);
  const length = shape[at] as number;
  const bound = (option: string, value: unknown): number => {
    if (!Number.isInteger(value)) throw new OptionError(`slice: option '${option}' must be an integer, got ${show(value)}`);
    const counted = (value as number) < 0 ? (value as number) + length : (value as number);
    return Math.min(length, Math.max(0, counted));
  };
  const [first, last] = [bound('start', start), bound('end', end ?? length)];
  if (last <= first) throw new ShapeError(`slice: nothing of axis ${at} of x [${shape}] lies in [${start}, ${end ?? length})`);
  return move('slice', input, shape.with(at, last - first), new Array<number>(shape.length).fill(0).with(at, first), 0);
}

/**
 * Cuts a tensor along an axis, into so many equal parts or into parts of these sizes; copies. Their gradients come together in one
 * tensor. f32 or bf16. Throws ShapeError when the sizes do not add up.
 */
export function split(x: TensorLike, parts: number | readonly number[], axis = -1): Tensor[] {
  const input = asFloat('split', 'x', x);
  const { device, shape, dtype } = input;
  const at = checkAxis('split', 'axis', axis, input);
  const sizes = toSizes(parts, shape, at);
  // A node between x and its parts: what comes from elsewhere for x is not mixed with what the parts still write.
  const joined = tape('split', input.alias(), [input], [], (dy) => [dy.alias()]);
  const { edge } = joined;
  let gathered: Tensor | null = null;
  let start = 0;
  const pieces = sizes.map((size) => {
    const offset = new Array<number>(shape.length).fill(0).with(at, start);
    start += size;
    const piece = moved(input, shape.with(at, size), offset, 0);
    if (edge)
      piece.edge = new TapeNode('split', piece.shape, [edge], [], (dy) => {
        const first = gathered === null;
        gathered ??= device.unscoped(() => device.zeros(shape, { dtype }));
        device.native.place(dy.handle, gathered.handle, ...offsets(offset));
        return [first ? gathered : null];
      });
    return piece;
  });
  joined.dispose();
  return pieces;
}

function toSizes(parts: unknown, shape: readonly number[], axis: number): readonly number[] {
  const length = shape[axis] as number;
  const sizes = (Array.isArray(parts) ? parts : Array.from({ length: Number(parts) }, () => length / Number(parts))) as number[];
  let total = 0;
  for (const size of sizes) total += Number.isInteger(size) && size > 0 ? size : Number.NaN;
  if (sizes.length === 0 || !(typeof parts === 'number' || Array.isArray(parts)) || total !== length)
    throw new ShapeError(
      `split: option 'parts' must be a number that divides the ${length} elements of axis ${axis} of x [${shape}], or sizes that ` +
        `add up to it; got ${show(parts)}`,
    );
  return sizes;
}

/** [parts…] along an axis, not taped. @internal */
export function joinParts(parts: readonly Tensor[], shape: readonly number[], axis: number): Tensor {
  const [first] = parts as [Tensor];
  const { device } = first;
  const y = device.empty(shape, first.dtype);
  let start = 0;
  for (const part of parts) {
    device.native.place(part.handle, y.handle, ...offsets(new Array<number>(shape.length).fill(0).with(axis, start)));
    start += part.shape[axis] as number;
  }
  return y;
}

/** The parts of a joint tensor that have these shapes, not taped. @internal */
export function cutParts(joint: Tensor, shapes: readonly (readonly number[])[], axis: number): Tensor[] {
  let start = 0;
  return shapes.map((shape) => {
    const offset = new Array<number>(shape.length).fill(0).with(axis, start);
    start += shape[axis] as number;
    return moved(joint, shape, offset, 0);
  });
}

/** Rows of everything in front of an axis, and what follows from it on. @internal */
export function asRows({ shape }: Tensor, axis: number): [number, number] {
  return [sizeOf(shape.slice(0, axis)), sizeOf(shape.slice(axis))];
}
