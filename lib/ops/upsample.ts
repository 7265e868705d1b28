import { tape } from '../autograd/tape.js';
import { OptionError, ShapeError } from '../errors.js';
import { show } from '../options.js';
import type { Tensor } from '../tensor.js';
import { repeatTo, sumTo } from './broadcast.js';
import { asFloat, expectRank, type TensorLike } from './check.js';

/** Nearest-neighbour enlargement by an integer, or by [down, right]; 2 when left out: [N, H, W, C] → [N, 2H, 2W, C]. */
export function upsample(x: TensorLike, factor: number | readonly [down: number, right: number] = 2): Tensor {
  const input = asFloat('upsample', 'x', x);
  expectRank('upsample', 'x', input, 4);
  const [down, right] = toFactors(factor);
  const { device, shape, dtype } = input;
  if (down === 2 && right === 2) return tape('upsample', repeat2x2(input), [input], [], (dy) => [sum2x2(dy, shape)]);
  const [n, h, w, c] = shape as [number, number, number, number];
  const [small, large] = [
    [n, h, 1, w, 1, c],
    [n, h, down, w, right, c],
  ];
  const y = device.scope(() => repeatTo(input.alias(small), large, 1).alias([n, h * down, w * right, c]));
  return tape('upsample', y, [input], [], (dy) => [sumTo(dy.alias(large), null, small, dtype, 1).alias(shape)]);
}

function toFactors(factor: unknown): readonly [down: number, right: number] {
  const both = (Array.isArray(factor) ? factor : [factor, factor]) as [number, number];
  if (both.length !== 2 || !both.every((one) => Number.isInteger(one) && one >= 1 && one < 2 ** 30))
    throw new OptionError(
      `upsample: option 'factor' must be an integer of at least 1, or two: [down, right]; got ${show(factor)}`,
    );
  return both;
}

/** Mean over 2 × 2 pixels (average pooling): [N, H, W, C] → [N, H/2, W/2, C]. Throws ShapeError for an odd height or width. */
export function downsample(x: TensorLike): Tensor {
  const input = asFloat('downsample', 'x', x);
  expectRank('downsample', 'x', input, 4);
  const [n, h, w, c] = input.shape as [number, number, number, number];
  if (h % 2 !== 0 || w % 2 !== 0)
    throw new ShapeError(`downsample: height and width of x must be even, got shape [${input.shape}]`);
  const y = quarter(sum2x2(input, [n, h / 2, w / 2, c]));
  return tape('downsample', y, [input], [], (dy) => [quarter(repeat2x2(dy))]);
}

function repeat2x2(x: Tensor): Tensor {
  const [n, h, w, c] = x.shape as [number, number, number, number];
  const y = x.device.empty([n, 2 * h, 2 * w, c], x.dtype);
  x.device.native.upsample(x.handle, y.handle);
  return y;
}

function sum2x2(x: Tensor, shape: readonly number[]): Tensor {
  const y = x.device.empty(shape, x.dtype);
  x.device.native.upsampleBackward(x.handle, y.handle);
  return y;
}

/** In place. */
function quarter(x: Tensor): Tensor {
  x.device.native.scale(x.handle, x.handle, 0.25, 0);
  return x;
}
