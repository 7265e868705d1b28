import { tape } from '../autograd/tape.js';
import { OptionError } from '../errors.js';
import { show } from '../options.js';
import { sizeOf, type Tensor } from '../tensor.js';
import { asFloat, expectShape, oneDevice, optionalTensor, type TensorLike } from './check.js';
import { gradientTargets } from './gradients.js';
import { checkInteger, checkNames } from './options.js';

/** Options of `ops.layerNorm`. */
export interface LayerNormOptions {
  /** How many of the last axes are normalised together; as many as `gamma` (or `beta`) has, or 1. */
  axes?: number;
  /** Added to the variance; 1e-5. */
  eps?: number;
}

/**
 * Layer normalisation (Ba et al. 2016) over the last axes: y = (x − mean)/√(variance + eps)·gamma + beta.
 * `gamma` and `beta` have the shape of those axes, f32; null stands for ones and zeros. `x` f32 or bf16, the result too; statistics
 * in f32 at least. As torch.nn.functional.layer_norm. Throws typed errors naming the argument.
 */
export function layerNorm(
  x: TensorLike,
  gamma: TensorLike | null = null,
  beta: TensorLike | null = null,
  options: LayerNormOptions = {},
): Tensor {
  checkNames('layerNorm', options, ['axes', 'eps']);
  const input = asFloat('layerNorm', 'x', x);
  const slope = optionalTensor('layerNorm', 'gamma', gamma);
  const offset = optionalTensor('layerNorm', 'beta', beta);
  const { shape, dtype } = input;
  const { axes = Math.min((slope ?? offset)?.shape.length ?? 1, shape.length), eps = 1e-5 } = options;
  checkInteger('layerNorm', 'axes', axes, 1);
  if (axes > shape.length)
    throw new OptionError(`layerNorm: option 'axes' must be at most ${shape.length}, the axes of x [${shape}]; got ${axes}`);
  if (!Number.isFinite(eps) || eps < 0)
    throw new OptionError(`layerNorm: option 'eps' must be a number of at least 0, got ${show(eps)}`);
  const device = oneDevice('layerNorm', { x: input, gamma: slope, beta: offset });
  const normalised = shape.slice(shape.length - axes);
  if (slope) expectShape('layerNorm', 'gamma', slope, normalised);
  if (offset) expectShape('layerNorm', 'beta', offset, normalised);

  const width = sizeOf(normalised);
  const matrix = [input.size / width, width] as const;
  const y = device.empty(shape, dtype);
  const stats = device.empty([matrix[0], 2], 'f32');
  const rows = [input, y].map((tensor) => tensor.alias(matrix)) as [Tensor, Tensor];
  device.native.layerNorm(rows[0].handle, slope?.handle ?? 0, offset?.handle ?? 0, rows[1].handle, stats.handle, eps);
  for (const view of rows) view.dispose();

  const wantsInput = input.edge !== null;
  const edges = [slope?.edge ?? null, offset?.edge ?? null] as const;
  const saved = [input, wantsInput ? slope : null, stats];
  tape('layerNorm', y, [input, slope, offset], saved, (dy, [x, gamma, stats]) => {
    const dx = wantsInput ? device.empty(shape, dtype) : null;
    const { first, second, accumulate } = gradientTargets(device, edges, [normalised, normalised]);
    device.native.layerNormBackward(
      dy.alias(matrix).handle,
      (x as Tensor).alias(matrix).handle,
      gamma?.handle ?? 0,
      (stats as Tensor).handle,
      dx?.alias(matrix).handle ?? 0,
      first?.tensor.handle ?? 0,
      second?.tensor.handle ?? 0,
      accumulate,
    );
    return [dx, first?.result ?? null, second?.result ?? null];
  });
  stats.dispose();
  return y;
}
