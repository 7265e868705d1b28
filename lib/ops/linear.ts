import { tape } from '../autograd/tape.js';
import { ShapeError } from '../errors.js';
import type { Tensor } from '../tensor.js';
import {
  asFloat,
  asWeight,
  channelsOf,
  expectRank,
  expectShape,
  oneDevice,
  optionalFloat,
  optionalTensor,
  type TensorLike,
} from './check.js';
import { weightGradients } from './gradients.js';
import { checkNames } from './options.js';

/** Options of `ops.linear`. */
export interface LinearOptions {
  /** [K] */
  bias?: TensorLike | null;
  /** Added to the output, whose shape it has. */
  residual?: TensorLike | null;
}

const names = ['bias', 'residual'];

/**
 * Affine map of the last axis: y[…, k] = Σ_c x[…, c] · weight[c, k] + bias[k] + residual[…, k].
 * `x` [..., C], `weight` [C, K]; returns [..., K]. `x`, `weight` and `residual` hold f32, or all bf16 (the sums f32) as the result
 * then does; a parameter as `weight` suits both. `bias` is f32. Throws typed errors naming the argument.
 */
export function linear(x: TensorLike, weight: TensorLike, options: LinearOptions = {}): Tensor {
  checkNames('linear', options, names);
  const input = asFloat('linear', 'x', x);
  const matrix = asWeight('linear', 'weight', weight, input);
  const bias = optionalTensor('linear', 'bias', options.bias);
  const residual = optionalFloat('linear', 'residual', options.residual, input);
  const device = oneDevice('linear', { x: input, weight: matrix, bias, residual });
  expectRank('linear', 'weight', matrix, 2);
  const weightShape = matrix.shape;
  const [c, k] = weightShape as [number, number];
  if (channelsOf(input) !== c)
    throw new ShapeError(`linear: weight [${matrix.shape}] takes ${c} channels, x has shape [${input.shape}]`);
  const { shape: inputShape, dtype } = input;
  const shape = [...inputShape.slice(0, -1), k];
  if (bias) expectShape('linear', 'bias', bias, [k]);
  if (residual) expectShape('linear', 'residual', residual, shape);

  const y = device.empty(shape, dtype);
  device.native.linear(input.handle, matrix.handle, bias?.handle ?? 0, residual?.handle ?? 0, y.handle);
  const xEdge = input.edge;
  const weightEdge = matrix.edge;
  const biasEdge = bias?.edge ?? null;
  const wantsResidual = residual?.edge != null;
  const saved = [weightEdge ? input : null, xEdge ? matrix : null];
  return tape('linear', y, [input, matrix, bias, residual], saved, (dy, [x, weight]) => {
    let dx: Tensor | null = null;
    if (xEdge) {
      dx = device.empty(inputShape, dtype);
      device.native.linearBackwardData(dy.handle, (weight as Tensor).handle, dx.handle);
    }
    const [dweight, dbias] = weightGradients(dy, [weightEdge, biasEdge], weightShape, (dw, db, accumulate) =>
      device.native.linearBackwardWeights((x as Tensor).handle, dy.handle, dw, db, accumulate),
    );
    return [dx, dweight, dbias, wantsResidual ? dy : null];
  });
}
