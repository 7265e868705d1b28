import { tape, wantsGradient } from '../autograd/tape.js';
import { OptionError, ShapeError } from '../errors.js';
import { show } from '../options.js';
import type { Tensor } from '../tensor.js';
import { asFloat, expectRank, type TensorLike } from './check.js';
import { checkBoolean, checkNames } from './options.js';

/** Options of `ops.maxPool2d`. */
export interface PoolOptions {
  /** Pixels between two windows, or [down, right]; the kernel's size when left out. */
  stride?: number | readonly [down: number, right: number];
  /** Pixels around the image, fewer than the kernel has: everywhere alike, or [top, left, bottom, right]; 0. */
  padding?: number | readonly [top: number, left: number, bottom: number, right: number];
}

/** Options of `ops.avgPool2d`. */
export interface AvgPoolOptions extends PoolOptions {
  /** Whether padding counts, as zeros: true as in PyTorch. Else the mean is over the window's pixels inside the image. */
  countIncludePad?: boolean;
}

/** The end of the native call: kernel, stride, paddings. */
type Window = readonly [
  kh: number,
  kw: number,
  down: number,
  right: number,
  ...padding: readonly [number, number, number, number],
];

/**
 * Mean over windows of pixels: `x` [N, H, W, C] → [N, OH, OW, C], OH = ⌊(H + top + bottom − kernel)/stride⌋ + 1, f32 or bf16 with
 * sums in f32. `kernel` in pixels, or [height, width]. As torch.nn.functional.avg_pool2d.
 * Throws ShapeError, DTypeError, OptionError or DisposedError naming the argument.
 */
export function avgPool2d(x: TensorLike, kernel: number | readonly [number, number], options: AvgPoolOptions = {}): Tensor {
  checkNames('avgPool2d', options, ['stride', 'padding', 'countIncludePad']);
  const { countIncludePad = true } = options;
  checkBoolean('avgPool2d', 'countIncludePad', countIncludePad);
  const input = asFloat('avgPool2d', 'x', x);
  const window = toWindow('avgPool2d', kernel, options);
  const { device, shape, dtype } = input;
  const y = device.empty(outputShape('avgPool2d', input, window), dtype);
  device.native.avgPool2d(input.handle, y.handle, ...window, countIncludePad);
  return tape('avgPool2d', y, [input], [], (dy) => {
    const dx = device.empty(shape, dtype);
    device.native.avgPool2dBackward(dy.handle, dx.handle, ...window, countIncludePad);
    return [dx];
  });
}

/**
 * Maximum over windows of pixels, of those that lie inside the image: `x` [N, H, W, C] → [N, OH, OW, C] as `avgPool2d`. The gradient
 * goes to the first of equal maxima. As torch.nn.functional.max_pool2d. Throws typed errors naming the argument.
 */
export function maxPool2d(x: TensorLike, kernel: number | readonly [number, number], options: PoolOptions = {}): Tensor {
  checkNames('maxPool2d', options, ['stride', 'padding']);
  const input = asFloat('maxPool2d', 'x', x);
  const window = toWindow('maxPool2d', kernel, options);
  const { device, shape, dtype } = input;
  const y = device.empty(outputShape('maxPool2d', input, window), dtype);
  const index = wantsGradient(input) ? device.empty(y.shape, window[0] * window[1] <= 256 ? 'u8' : 'i32') : null;
  device.native.maxPool2d(input.handle, y.handle, index?.handle ?? 0, ...window);
  tape('maxPool2d', y, [input], [index], (dy, [places]) => {
    const dx = device.empty(shape, dtype);
    device.native.maxPool2dBackward(dy.handle, (places as Tensor).handle, dx.handle, ...window);
    return [dx];
  });
  index?.dispose();
  return y;
}

function toWindow(operation: string, kernel: unknown, { stride = kernel as number, padding = 0 }: PoolOptions): Window {
  const [kh, kw] = numbers(operation, 'kernel', kernel, 1, ['height', 'width']) as [number, number];
  const [down, right] = numbers(operation, 'stride', stride, 1, ['down', 'right']) as [number, number];
  const sides = numbers(operation, 'padding', padding, 0, ['top', 'left', 'bottom', 'right']) as [number, number, number, number];
  for (const [i, side] of sides.entries())
    if (side >= (i % 2 === 0 ? kh : kw))
      throw new OptionError(
        `${operation}: option 'padding' must be smaller than the kernel of ${kh} × ${kw}, got ${show(padding)}`,
      );
  return [kh, kw, down, right, ...sides];
}

/** One integer for all of these names, or one for each. */
function numbers(
  operation: string,
  option: string,
  value: unknown,
  minimum: number,
  parts: readonly string[],
): readonly number[] {
  const all = (Array.isArray(value) ? value : parts.map(() => value)) as readonly number[];
  let good = all.length === parts.length;
  for (const one of all) good &&= Number.isInteger(one) && one >= minimum && one < 2 ** 30;
  if (!good)
    throw new OptionError(
      `${operation}: option '${option}' must be an integer of at least ${minimum}, or [${parts.join(', ')}]; got ${show(value)}`,
    );
  return all;
}

function outputShape(operation: string, x: Tensor, [kh, kw, down, right, top, left, bottom, end]: Window): number[] {
  expectRank(operation, 'x', x, 4);
  const [n, h, w, c] = x.shape as [number, number, number, number];
  const [height, width] = [h + top + bottom, w + left + end];
  if (kh > height || kw > width)
    throw new ShapeError(
      `${operation}: the kernel of ${kh} × ${kw} is larger than x [${x.shape}], padded to ${height} × ${width} pixels`,
    );
  return [n, Math.floor((height - kh) / down) + 1, Math.floor((width - kw) / right) + 1, c];
}
