import { noGrad } from '../autograd/tape.js';
import { noRng } from '../random.js';
import type { Tensor } from '../tensor.js';
import { tensorLike } from './arguments.js';
import { reverseStep } from './kernels.js';
import type { Process } from './process.js';
import type { Prediction } from './tables.js';
import { thresholdOf } from './variationalBound.js';

/** What a reverse step takes for the model's prediction. */
export interface PredictedStart {
  /** The model's output, or what `denoisedFn` made of x_0. */
  output: Tensor;
  /** What `output` is. */
  prediction: Prediction;
  /** Bound of each sample's x_0, [N], with `dynamicThreshold`. */
  bound: Tensor | null;
  /** Bound of all samples' x_0; 0: none. */
  clip: number;
}

/**
 * The prediction of x_0 behind a model's output: as the process asks for, changed by `denoisedFn` and bounded by `dynamicThreshold`
 * or `clipDenoised`.
 * @throws OptionError, ShapeError, DTypeError, DeviceMismatchError for what `denoisedFn` returns; what it throws.
 */
export function predictedStart(process: Process, operation: string, output: Tensor, xt: Tensor, t: Tensor): PredictedStart {
  const { denoisedFn, dynamicThreshold, clipDenoised, tables } = process;
  const start = { output, prediction: process.prediction };
  if (denoisedFn) {
    const free = { bound: null, clip: 0, noise: null, rng: noRng };
    const { predXStart } = reverseStep({ output, xt, t, table: tables.reverse('mean'), ...free });
    start.output = tensorLike(
      xt,
      operation,
      "what 'denoisedFn' returns",
      noGrad(() => denoisedFn(predXStart)),
    );
    start.prediction = 'sample';
  }
  if (!dynamicThreshold) return { ...start, bound: null, clip: clipDenoised ? 1 : 0 };
  const table = tables.reverse('mean', 0, start.prediction);
  return { ...start, bound: thresholdOf({ output: start.output, xt, t, table }, dynamicThreshold), clip: 0 };
}

/** A start's output with the variance channels of the model's output behind it, unless it has them already. */
export function joinVariance(start: PredictedStart, output: Tensor): Tensor {
  if (start.output === output) return output;
  const { device, shape } = start.output;
  const [first, variance, joined] = [device.empty(shape, 'f32'), device.empty(shape, 'f32'), device.empty(output.shape, 'f32')];
  device.native.split(output.handle, first.handle, variance.handle);
  device.native.concat(start.output.handle, variance.handle, joined.handle);
  return joined;
}
