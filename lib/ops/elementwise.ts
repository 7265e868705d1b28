import { tape } from '../autograd/tape.js';
import type { Tensor } from '../tensor.js';
import { asTensor, expectShape, oneDevice, type TensorLike } from './check.js';

/** y = a + b, shapes alike. */
export function add(a: TensorLike, b: TensorLike): Tensor {
  const x = asTensor('add', 'a', a);
  const z = asTensor('add', 'b', b);
  const device = oneDevice('add', { a: x, b: z });
  expectShape('add', 'b', z, x.shape);
  const y = device.empty(x.shape, 'f32');
  device.native.add(x.handle, z.handle, y.handle);
  return tape('add', y, [x, z], [], (dy) => [dy.alias(), dy.alias()]);
}

/** y = x · sigmoid(x), "SiLU" or "swish". */
export function silu(x: TensorLike): Tensor {
  const input = asTensor('silu', 'x', x);
  const { device } = input;
  const y = device.empty(input.shape, 'f32');
  device.native.silu(input.handle, y.handle);
  return tape('silu', y, [input], [input], (dy, [saved]) => {
    const dx = device.empty(dy.shape, 'f32');
    device.native.siluBackward(dy.handle, (saved as Tensor).handle, dx.handle);
    return [dx];
  });
}
