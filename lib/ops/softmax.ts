import { tape } from '../autograd/tape.js';
import type { Tensor } from '../tensor.js';
import { asFloat, type TensorLike } from './check.js';

/** y = exp(x)/Σ exp(x) over the last axis, computed without overflow; f32 or bf16, arithmetic in f32. */
export function softmax(x: TensorLike): Tensor {
  const input = asFloat('softmax', 'x', x);
  const { device, shape, dtype } = input;
  const y = device.empty(shape, dtype);
  device.native.softmax(input.handle, y.handle);
  return tape('softmax', y, [input], [y], (dy, [saved]) => {
    const dx = device.empty(shape, dtype);
    device.native.softmaxBackward(dy.handle, (saved as Tensor).handle, dx.handle);
    return [dx];
  });
}
