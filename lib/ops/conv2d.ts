import { type Edge, tape, wantsGradient } from '../autograd/tape.js';
import { OptionError, ShapeError } from '../errors.js';
import { show } from '../options.js';
import type { Tensor } from '../tensor.js';
import {
  asFloat,
  asWeight,
  expectRank,
  expectShape,
  type FloatType,
  oneDevice,
  optionalFloat,
  optionalTensor,
  type TensorLike,
} from './check.js';
import { resultTarget, weightGradients } from './gradients.js';
import { convert } from './layout.js';
import { checkBoolean, checkInteger, checkNames } from './options.js';
import { attachSums } from './sums.js';

/** Options of `ops.conv2d`. */
export interface Conv2dOptions {
  /** [K] */
  bias?: TensorLike | null;
  /** A second input [N, H, W, C2] whose channels count as following those of `x`; never concatenated in memory. */
  skip?: TensorLike | null;
  /** [N, K], added to every pixel of a sample. */
  shift?: TensorLike | null;
  /** [N, OH, OW, K], added to the output. */
  residual?: TensorLike | null;
  /** Pixels between two windows; 1. */
  stride?: number;
  /** Zeros around the image, in pixels: everywhere alike, or [top, left, bottom, right]. */
  padding?: number | readonly [top: number, left: number, bottom: number, right: number];
  /** Convolve the nearest-neighbour 2× enlargement of `x`. */
  upsample?: boolean;
  /** Element type of the result where it differs from that of `x`: f32, for a last layer in bf16. Not with a residual. */
  dtype?: 'f32';
  /**
   * A group normalisation follows: hand it the sums that it needs, where that can be had along the way (bf16, pixels of the result
   * a multiple of 64). Changes no more than the rounding of its statistics.
   */
  statistics?: boolean;
}

const names = ['bias', 'skip', 'shift', 'residual', 'stride', 'padding', 'upsample', 'dtype', 'statistics'];

/** The end of the native call: stride, four paddings, upsample. @internal */
export type Window = readonly [stride: number, top: number, left: number, bottom: number, right: number, upsample: boolean];

/**
 * 2-D cross-correlation of `x` [N, H, W, C1] with `weight` [R, S, C1 + C2, K]:
 * y[n, i, j, k] = Σ x[n, i·stride + r − top, j·stride + s − left, c] · weight[r, s, c, k] + bias[k] + shift[n, k] + residual.
 * Returns [N, OH, OW, K], OH = ⌊(H + top + bottom − R)/stride⌋ + 1 (2H for H when upsampling).
 * `x`, `skip`, `weight` and `residual` hold f32, or all bf16 (the sums f32) as the result then does; a parameter as `weight` suits
 * both. `bias` and `shift` are f32.
 * Throws ShapeError, DTypeError, OptionError, DisposedError or DeviceMismatchError naming the argument.
 */
export function conv2d(x: TensorLike, weight: TensorLike, options: Conv2dOptions = {}): Tensor {
  checkNames('conv2d', options, names);
  const window = toWindow('conv2d', options);
  if (options.statistics !== undefined) checkBoolean('conv2d', 'statistics', options.statistics);
  const input = asFloat('conv2d', 'x', x);
  const filter = asWeight('conv2d', 'weight', weight, input);
  const bias = optionalTensor('conv2d', 'bias', options.bias);
  const skip = optionalFloat('conv2d', 'skip', options.skip, input);
  const shift = optionalTensor('conv2d', 'shift', options.shift);
  const residual = optionalFloat('conv2d', 'residual', options.residual, input);
  const device = oneDevice('conv2d', { x: input, weight: filter, bias, skip, shift, residual });
  const shape = outputShape(input, skip, filter, window);
  const [n, , , k] = shape;
  if (bias) expectShape('conv2d', 'bias', bias, [k]);
  if (shift) expectShape('conv2d', 'shift', shift, [n, k]);
  if (residual) expectShape('conv2d', 'residual', residual, shape);

  const y = device.empty(shape, outputType(options.dtype, input, residual));
  const sums = options.statistics && y.dtype === 'bf16' ? attachSums(y) : null;
  device.native.conv2d(
    input.handle,
    skip?.handle ?? 0,
    filter.handle,
    bias?.handle ?? 0,
    shift?.handle ?? 0,
    residual?.handle ?? 0,
    y.handle,
    sums?.handle ?? 0,
    ...window,
  );
  const inputs = [input, skip, filter, bias, shift, residual];
  if (!wantsGradient(...inputs)) return y;
  const wantsData = input.edge !== null || (skip !== null && skip.edge !== null);
  const wantsWeight = filter.edge !== null;
  const saved = [wantsWeight ? input : null, wantsWeight ? skip : null, wantsData ? filter : null];
  const edges = inputs.map((one) => one?.edge ?? null);
  return tape('conv2d', y, inputs, saved, backwardOf(edges, input, skip?.shape ?? null, filter.shape, window));
}

function backwardOf(
  [dxEdge, dskipEdge, weightEdge, biasEdge, shiftEdge, residualEdge]: readonly (Edge | null | undefined)[],
  { shape, dtype }: Tensor,
  skipShape: readonly number[] | null,
  weightShape: readonly number[],
  window: Window,
) {
  return (dyOut: Tensor, [x, skip, weight]: Tensor[]): (Tensor | null)[] => {
    const dy = convert(dyOut, dtype);
    const { device } = dy;
    let dx: Tensor | null = null;
    let dskip: Tensor | null = null;
    if (dxEdge || dskipEdge) {
      dx = device.empty(shape, dtype);
      dskip = skipShape && device.empty(skipShape, dtype);
      device.native.conv2dBackwardData(dy.handle, (weight as Tensor).handle, dx.handle, dskip?.handle ?? 0, ...window);
    }
    const [dweight, dbias] = weightGradients(dy, [weightEdge ?? null, biasEdge ?? null], weightShape, (dw, db, accumulate) =>
      device.native.conv2dBackwardWeights((x as Tensor).handle, skip?.handle ?? 0, dy.handle, dw, db, ...window, accumulate),
    );
    let dshift: Tensor | null = null;
    if (shiftEdge) {
      dshift = resultTarget(device, shiftEdge, [dy.shape[0] as number, dy.shape[3] as number]);
      device.native.sumPixels(dy.handle, dshift.handle);
    }
    return [dxEdge ? dx : null, dskipEdge ? dskip : null, dweight, dbias, dshift, residualEdge ? dy : null];
  };
}

function outputType(asked: unknown, x: Tensor, residual: Tensor | null): FloatType {
  if (asked === undefined) return x.dtype as FloatType;
  if (asked !== 'f32') throw new OptionError(`conv2d: option 'dtype' must be 'f32' or left out, got ${show(asked)}`);
  if (residual?.dtype === 'bf16') throw new OptionError("conv2d: option 'dtype' 'f32' does not go with a residual in bf16");
  return asked;
}

/** @internal */
export function toWindow(operation: string, { stride = 1, padding = 0, upsample = false }: Conv2dOptions): Window {
  checkInteger(operation, 'stride', stride, 1);
  checkBoolean(operation, 'upsample', upsample);
  const sides = (Array.isArray(padding) ? padding : [padding, padding, padding, padding]) as readonly number[];
  let good = sides.length === 4;
  for (const side of sides) good &&= Number.isInteger(side) && side >= 0 && side <= 0x7fff;
  if (!good)
    throw new OptionError(
      `${operation}: option 'padding' must be an integer of at least 0, or four: [top, left, bottom, right]; got ${show(padding)}`,
    );
  return [stride, ...(sides as [number, number, number, number]), upsample];
}

function outputShape(x: Tensor, skip: Tensor | null, weight: Tensor, window: Window): [number, number, number, number] {
  expectRank('conv2d', 'x', x, 4);
  expectRank('conv2d', 'weight', weight, 4);
  const [n, h, w, c1] = x.shape as [number, number, number, number];
  const [r, s, c, k] = weight.shape as [number, number, number, number];
  const c2 = skip?.shape[3] ?? 0;
  if (skip) expectShape('conv2d', 'skip', skip, [n, h, w, c2]);
  if (c !== c1 + c2)
    throw new ShapeError(
      `conv2d: weight [${weight.shape}] takes ${c} channels, x [${x.shape}]${skip ? ` and skip [${skip.shape}]` : ''} ` +
        `${skip ? 'have' : 'has'} ${c1 + c2}`,
    );
  const [stride, top, left, bottom, right, upsample] = window;
  const height = (upsample ? 2 * h : h) + top + bottom;
  const width = (upsample ? 2 * w : w) + left + right;
  if (r > height || s > width)
    throw new ShapeError(`conv2d: weight [${weight.shape}] is larger than the padded image of ${height} × ${width} pixels`);
  return [n, Math.floor((height - r) / stride) + 1, Math.floor((width - s) / stride) + 1, k];
}
