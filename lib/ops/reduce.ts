import { tape } from '../autograd/tape.js';
import type { Tensor } from '../tensor.js';
import { asTensor, expectShape, oneDevice, type TensorLike } from './check.js';

/** Mean of all elements, shape [1]. */
export function mean(x: TensorLike): Tensor {
  const input = asTensor('mean', 'x', x);
  const { device, shape } = input;
  const y = device.empty([1], 'f32');
  device.native.mean(input.handle, y.handle);
  return tape('mean', y, [input], [], (dy) => {
    const dx = device.empty(shape, 'f32');
    device.native.meanBackward(dy.handle, dx.handle);
    return [dx];
  });
}

/** Mean of (prediction − target)² over each sample: [N, ...] → [N]. */
export function mseLossPerSample(prediction: TensorLike, target: TensorLike): Tensor {
  return squaredError('mseLossPerSample', prediction, target);
}

/** Mean of (prediction − target)² over all elements, shape [1]. */
export function mseLoss(prediction: TensorLike, target: TensorLike): Tensor {
  const perSample = squaredError('mseLoss', prediction, target);
  const loss = mean(perSample);
  perSample.dispose();
  return loss;
}

function squaredError(operation: string, prediction: TensorLike, target: TensorLike): Tensor {
  const p = asTensor(operation, 'prediction', prediction);
  const t = asTensor(operation, 'target', target);
  const device = oneDevice(operation, { prediction: p, target: t });
  expectShape(operation, 'target', t, p.shape);
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
