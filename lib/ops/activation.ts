import { tape } from '../autograd/tape.js';
import { OptionError } from '../errors.js';
import { show } from '../options.js';
import type { Tensor } from '../tensor.js';
import { asFloat, type TensorLike } from './check.js';
import { checkNames } from './options.js';

/** As native/core/ops/activation.h counts them. */
const kinds = { relu: 0, gelu: 1, geluTanh: 2, sigmoid: 3, tanh: 4 } as const;

function activate(operation: string, x: TensorLike, kind: number): Tensor {
  const input = asFloat(operation, 'x', x);
  const { device } = input;
  const y = device.empty(input.shape, input.dtype);
  device.native.activation(input.handle, y.handle, kind);
  return tape(operation, y, [input], [input], (dy, [saved]) => {
    const dx = device.empty(dy.shape, dy.dtype);
    device.native.activationBackward(dy.handle, (saved as Tensor).handle, dx.handle, kind);
    return [dx];
  });
}

/** y = max(x, 0); its gradient at 0 is 0. Like all maps here: f32 or bf16, the result too; arithmetic in f32. */
export function relu(x: TensorLike): Tensor {
  return activate('relu', x, kinds.relu);
}

/** Options of `ops.gelu`. */
export interface GeluOptions {
  /** 'tanh': ½·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))); 'none', the default: by the error function. */
  approximate?: 'none' | 'tanh';
}

/** y = x·Φ(x), Φ the distribution function of the standard normal (Hendrycks, Gimpel 2016); as torch.nn.functional.gelu. */
export function gelu(x: TensorLike, options: GeluOptions = {}): Tensor {
  checkNames('gelu', options, ['approximate']);
  const { approximate = 'none' } = options;
  if (approximate !== 'none' && approximate !== 'tanh')
    throw new OptionError(`gelu: option 'approximate' must be 'none' or 'tanh', got ${show(approximate)}`);
  return activate('gelu', x, approximate === 'tanh' ? kinds.geluTanh : kinds.gelu);
}

/** y = 1/(1 + exp(−x)). */
export function sigmoid(x: TensorLike): Tensor {
  return activate('sigmoid', x, kinds.sigmoid);
}

/** Hyperbolic tangent. */
export function tanh(x: TensorLike): Tensor {
  return activate('tanh', x, kinds.tanh);
}
