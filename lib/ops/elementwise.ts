import { tape, wantsGradient } from '../autograd/tape.js';
import { noRng, type RngOptions } from '../random.js';
import type { Tensor } from '../tensor.js';
import { asFloat, type TensorLike } from './check.js';
import { draw, drawAgain } from './draw.js';
import { checkNames, checkNumber, checkProbability } from './options.js';

export { add, mul } from './broadcast.js';

/** y = factor · x + offset. Like all maps here: f32 or bf16, the result too; arithmetic in f32. */
export function scale(x: TensorLike, factor: number, offset = 0): Tensor {
  checkNumber('scale', 'factor', factor);
  checkNumber('scale', 'offset', offset);
  const input = asFloat('scale', 'x', x);
  const { device } = input;
  const y = device.empty(input.shape, input.dtype);
  device.native.scale(input.handle, y.handle, factor, offset);
  return tape('scale', y, [input], [], (dy) => {
    const dx = device.empty(dy.shape, dy.dtype);
    device.native.scale(dy.handle, dx.handle, factor, 0);
    return [dx];
  });
}

/** y = x · sigmoid(x), "SiLU" or "swish". */
export function silu(x: TensorLike): Tensor {
  const input = asFloat('silu', 'x', x);
  const { device } = input;
  const y = device.empty(input.shape, input.dtype);
  device.native.silu(input.handle, y.handle);
  return tape('silu', y, [input], [input], (dy, [saved]) => {
    const dx = device.empty(dy.shape, dy.dtype);
    device.native.siluBackward(dy.handle, (saved as Tensor).handle, dx.handle);
    return [dx];
  });
}

const dropoutNames = ['seed', 'stream', 'step', 'firstSample'];

/**
 * y is 0 with probability `p` of [0, 1), else x/(1 − p). The mask is a function of (seed, stream, sample, step, element);
 * without a seed the device's own stream advances.
 */
export function dropout(x: TensorLike, p: number, options: RngOptions = {}): Tensor {
  checkNames('dropout', options, dropoutNames);
  checkProbability('dropout', 'p', p);
  const input = asFloat('dropout', 'x', x);
  const { device } = input;
  const drawn = p > 0 ? draw('dropout', device, options, wantsGradient(input)) : null;
  const { fields } = drawn ?? noRng;
  const y = device.empty(input.shape, input.dtype);
  device.native.dropout(input.handle, y.handle, p, ...fields);
  tape('dropout', y, [input], [drawn?.state], (dy, [state]) => {
    const dx = device.empty(dy.shape, dy.dtype);
    device.native.dropout(dy.handle, dx.handle, p, ...drawAgain(fields, state));
    return [dx];
  });
  drawn?.done();
  return y;
}
