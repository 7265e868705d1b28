import { tape } from '../autograd/tape.js';
import type { Tensor } from '../tensor.js';
import { meanOver, type ReduceOptions, reduceNames } from './axes.js';
import { asFloat, expectShape, oneDevice, type TensorLike } from './check.js';
import { cast } from './layout.js';
import { checkNames } from './options.js';

/** Mean of all elements of an f32 or bf16 tensor, f32 [1]; or over some `axes`, of the element type of `x`. */
export function mean(x: TensorLike, options: ReduceOptions = {}): Tensor {
  if (options.axes !== undefined || options.keepDims !== undefined) return meanOver(x, options);
  checkNames('mean', options, reduceNames);
  const input = asFloat('mean', 'x', x);
  const { device, shape, dtype } = input;
  const y = device.empty([1], 'f32');
  device.native.mean(input.handle, y.handle);
  return tape('mean', y, [input], [], (dy) => {
    const dx = device.empty(shape, dtype);
    device.native.meanBackward(dy.handle, dx.handle);
    return [dx];
  });
}

/** Mean of (prediction − target)² over each sample, in f32: [N, ...] of f32 or bf16 → f32 [N]. */
export function mseLossPerSample(prediction: TensorLike, target: TensorLike): Tensor {
  return squaredError('mseLossPerSample', prediction, target);
}

/** Mean of (prediction − target)² over all elements, in f32: f32 or bf16 → f32 [1]. */
export function mseLoss(prediction: TensorLike, target: TensorLike): Tensor {
  const perSample = squaredError('mseLoss', prediction, target);
  const loss = mean(perSample);
  perSample.dispose();
  return loss;
}

function squaredError(operation: string, prediction: TensorLike, target: TensorLike): Tensor {
  const given = [asFloat(operation, 'prediction', prediction), asFloat(operation, 'target', target)] as const;
  oneDevice(operation, { prediction: given[0], target: given[1] });
  expectShape(operation, 'target', given[1], given[0].shape);
  return lossPerSample(operation, ...given, 'mse');
}

/** What a difference d costs: d², |d|, or ½d² up to |d| = 1 and |d| - ½ from there. */
export type LossKind = 'mse' | 'l1' | 'huber';

/** Numbers of native/core/ops/reduce.h. */
const lossKinds: Record<LossKind, number> = { mse: 0, l1: 1, huber: 2 };

/**
 * Mean of the cost of prediction − target over each sample of `target` [N, ..., C], checked tensors: f32 [N]. The prediction may have
 * 2C channels, of which the second half is ignored; then there is no gradient for the target.
 * @internal
 */
export function lossPerSample(operation: string, prediction: Tensor, target: Tensor, kind: LossKind): Tensor {
  const both = [prediction, target] as const;
  if (both.every(({ dtype }) => dtype === 'f32')) return lossOfF32(operation, ...both, kind);
  return target.device.scope(() => lossOfF32(operation, toF32(prediction), toF32(target), kind));
}

const toF32 = (x: Tensor): Tensor => (x.dtype === 'f32' ? x : cast(x, 'f32'));

function lossOfF32(operation: string, p: Tensor, t: Tensor, kind: LossKind): Tensor {
  const { device } = t;
  const loss = device.empty([t.shape[0] as number], 'f32');
  device.native.mseLoss(p.handle, t.handle, loss.handle, lossKinds[kind]);
  const wants = [p.edge !== null, t.edge !== null && p.size === t.size];
  return tape(operation, loss, [p, t], [p, t], (dloss, [p, t]) => {
    const gradient = (of: Tensor, other: Tensor): Tensor => {
      const d = device.empty(of.shape, 'f32');
      device.native.mseLossBackward(of.handle, other.handle, dloss.handle, d.handle, lossKinds[kind]);
      return d;
    };
    const [first, second] = [p as Tensor, t as Tensor];
    return [wants[0] ? gradient(first, second) : null, wants[1] ? gradient(second, first) : null];
  });
}
