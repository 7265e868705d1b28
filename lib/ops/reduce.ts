import { tape } from '../autograd/tape.js';
import type { Device } from '../device.js';
import type { Tensor } from '../tensor.js';
import { asFloat, expectShape, oneDevice, type TensorLike } from './check.js';
import { cast } from './layout.js';

/** Mean of all elements of an f32 or bf16 tensor, f32 [1]. */
export function mean(x: TensorLike): Tensor {
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
  const device = oneDevice(operation, { prediction: given[0], target: given[1] });
  expectShape(operation, 'target', given[1], given[0].shape);
  if (given[0].dtype === 'f32' && given[1].dtype === 'f32') return squaredErrorF32(operation, device, ...given);
  return device.scope(() => squaredErrorF32(operation, device, toF32(given[0]), toF32(given[1])));
}

const toF32 = (x: Tensor): Tensor => (x.dtype === 'f32' ? x : cast(x, 'f32'));

function squaredErrorF32(operation: string, device: Device, p: Tensor, t: Tensor): Tensor {
  const loss = device.empty([p.shape[0] as number], 'f32');
  device.native.mseLoss(p.handle, t.handle, loss.handle);
  const wants = [p.edge !== null, t.edge !== null];
  return tape(operation, loss, [p, t], [p, t], (dloss, [p, t]) => {
    const gradient = (of: Tensor, other: Tensor): Tensor => {
      const d = device.empty(of.shape, 'f32');
      device.native.mseLossBackward(of.handle, other.handle, dloss.handle, d.handle);
      return d;
    };
    const [first, second] = [p as Tensor, t as Tensor];
    return [wants[0] ? gradient(first, second) : null, wants[1] ? gradient(second, first) : null];
  });
}
