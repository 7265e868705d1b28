import { tape } from '../autograd/tape.js';
import { OptionError, ShapeError } from '../errors.js';
import { show } from '../options.js';
import type { Tensor } from '../tensor.js';
import { asFloat, asWeight, expectRank, expectShape, oneDevice, optionalTensor, type TensorLike } from './check.js';
import { toWindow, type Window } from './conv2d.js';
import { weightGradients } from './gradients.js';
import { checkNames } from './options.js';

/** Options of `ops.convTranspose2d`. */
export interface ConvTranspose2dOptions {
  /** [K] */
  bias?: TensorLike | null;
  /** Pixels of the output between two of the input; 1. */
  stride?: number;
  /** Pixels cut off the output, as the padding of the convolution: everywhere alike, or [top, left, bottom, right]; 0. */
  padding?: number | readonly [top: number, left: number, bottom: number, right: number];
  /** Rows and columns more at the bottom and at the right, fewer than `stride`: alike, or [bottom, right]; 0. */
  outputPadding?: number | readonly [bottom: number, right: number];
}

/**
 * Transposed 2-D convolution, the gradient of `conv2d` with respect to its input: `x` [N, H, W, C], `weight` [R, S, K, C]; returns
 * [N, OH, OW, K], OH = (H − 1)·stride − top − bottom + R + outputPadding. As torch.nn.functional.conv_transpose2d, whose weight
 * [C, K, R, S] is that of a `Parameter` of kind 'conv'. `x` and `weight` hold f32, or both bf16; `bias` is f32.
 * Throws ShapeError, DTypeError, OptionError, DisposedError or DeviceMismatchError naming the argument.
 */
export function convTranspose2d(x: TensorLike, weight: TensorLike, options: ConvTranspose2dOptions = {}): Tensor {
  checkNames('convTranspose2d', options, ['bias', 'stride', 'padding', 'outputPadding']);
  const { stride = 1, padding = 0, outputPadding = 0 } = options;
  const window = toWindow('convTranspose2d', { stride, padding });
  const more = toMore(outputPadding, stride);
  const input = asFloat('convTranspose2d', 'x', x);
  const filter = asWeight('convTranspose2d', 'weight', weight, input);
  const bias = optionalTensor('convTranspose2d', 'bias', options.bias);
  const device = oneDevice('convTranspose2d', { x: input, weight: filter, bias });
  const shape = outputShape(input, filter, window, more);
  if (bias) expectShape('convTranspose2d', 'bias', bias, [shape[3]]);

  const { shape: inputShape, dtype } = input;
  const weightShape = filter.shape;
  const y = device.empty(shape, dtype);
  device.native.conv2dBackwardData(input.handle, filter.handle, y.handle, 0, ...window);
  if (bias) device.native.broadcast(y.handle, bias.handle, y.handle, false, 1, 1);
  const [inputEdge, weightEdge, biasEdge] = [input.edge, filter.edge, bias?.edge ?? null];
  const saved = [weightEdge ? input : null, inputEdge ? filter : null];
  return tape('convTranspose2d', y, [input, filter, bias], saved, (dy, [x, weight]) => {
    let dx: Tensor | null = null;
    if (inputEdge) {
      dx = device.empty(inputShape, dtype);
      device.native.conv2d(dy.handle, 0, (weight as Tensor).handle, 0, 0, 0, dx.handle, 0, ...window);
    }
    // The bias is summed over dy, the weight's gradient over both with their parts exchanged.
    const [, dbias] = weightGradients(dy, [null, biasEdge], weightShape, () => {});
    const [dweight] = weightGradients(x ?? dy, [weightEdge, null], weightShape, (dw, _, accumulate) =>
      device.native.conv2dBackwardWeights(dy.handle, 0, (x as Tensor).handle, dw, 0, ...window, accumulate),
    );
    return [dx, dweight, dbias];
  });
}

function toMore(outputPadding: unknown, stride: number): readonly [bottom: number, right: number] {
  const both = (Array.isArray(outputPadding) ? outputPadding : [outputPadding, outputPadding]) as [number, number];
  if (both.length !== 2 || !both.every((one) => Number.isInteger(one) && one >= 0 && one < stride))
    throw new OptionError(
      `convTranspose2d: option 'outputPadding' must be an integer of at least 0 and below the stride of ${stride}, or two: ` +
        `[bottom, right]; got ${show(outputPadding)}`,
    );
  return both;
}

function outputShape(x: Tensor, weight: Tensor, window: Window, [below, beside]: readonly [number, number]) {
  expectRank('convTranspose2d', 'x', x, 4);
  expectRank('convTranspose2d', 'weight', weight, 4);
  const [n, h, w, c] = x.shape as [number, number, number, number];
  const [r, s, k, taken] = weight.shape as [number, number, number, number];
  if (taken !== c)
    throw new ShapeError(`convTranspose2d: weight [${weight.shape}] takes ${taken} channels, x [${x.shape}] has ${c}`);
  const [stride, top, left, bottom, right] = window;
  const shape = [n, (h - 1) * stride - top - bottom + r + below, (w - 1) * stride - left - right + s + beside, k] as const;
  if (shape[1] < 1 || shape[2] < 1)
    throw new ShapeError(
      `convTranspose2d: option 'padding' leaves nothing of the output for x [${x.shape}] and weight [${weight.shape}]`,
    );
  return shape;
}
