import { noGrad } from '../autograd/tape.js';
import { add, mul } from '../ops/elementwise.js';
import { parseOptions } from '../options.js';
import { noRng, type Rng, streams } from '../random.js';
import type { Tensor } from '../tensor.js';
import { noiseSource, type Timesteps, tensorLike, tensorOn } from './arguments.js';
import { pick } from './forwardProcess.js';
import * as options from './gaussianOptions.js';
import { blend, reverseStep } from './kernels.js';
import { joinVariance, type PredictedStart, predictedStart } from './predictedStart.js';
import { expectOutput, onImages, type Process } from './process.js';
import { isLearned, type ReverseTableOptions, varianceKind } from './tables.js';
import { modelVariance } from './variationalBound.js';

/** Where the noise of a step comes from. */
interface NoiseSource {
  noise: Tensor | null;
  rng: Rng;
}

const noNoise: NoiseSource = { noise: null, rng: noRng };

/** p(x_{t-1} | x_t). */
export function reverseMoments(process: Process, modelOutput: Tensor, xt: Tensor, t: Timesteps): options.ReverseMoments {
  return onImages(process, 'pMeanVariance', { xt }, t, (x, steps) => {
    const inputs = checked(process, 'pMeanVariance', modelOutput, x, steps);
    const { sample, predXStart } = take(inputs, { kind: 'mean' }, noNoise);
    return { mean: sample, ...varianceOf(inputs), predXStart };
  });
}

/** x_{t-1} ~ p(x_{t-1} | x_t). */
export function ancestralSample(
  process: Process,
  modelOutput: Tensor,
  xt: Tensor,
  t: Timesteps,
  given: options.PSampleOptions,
): options.ReverseSample {
  const operation = 'pSample';
  const { classifierGradient, ...parsed } = parseOptions(operation, options.pSampleSchema, given) as options.PSampleOptions;
  return onImages(process, operation, { xt }, t, (x, steps) => {
    const inputs = checked(process, operation, modelOutput, x, steps);
    const gradient = gradientLike(x, operation, classifierGradient);
    const source = noiseSource(operation, x, parsed, streams.samplerNoise, parsed.noise === undefined);
    const { sample, predXStart } = take(inputs, { kind: 'ddpm' }, source);
    return { sample: gradient ? shiftMean(inputs, sample, gradient) : sample, predXStart };
  });
}

/** One step of DDIM. */
export function ddimSample(
  process: Process,
  modelOutput: Tensor,
  xt: Tensor,
  t: Timesteps,
  given: options.DdimSampleOptions,
): options.ReverseSample {
  const operation = 'ddimSample';
  const { eta, classifierGradient, ...parsed } = parseOptions(
    operation,
    options.ddimSchema,
    given,
  ) as options.DdimSampleOptions & {
    eta: number;
  };
  return onImages(process, operation, { xt }, t, (x, steps) => {
    const inputs = checked(process, operation, modelOutput, x, steps);
    const gradient = gradientLike(x, operation, classifierGradient);
    const source = noiseSource(operation, x, parsed, streams.samplerNoise, eta > 0 && parsed.noise === undefined);
    return take(gradient ? shiftStart(inputs, gradient) : inputs, { kind: 'ddim', eta }, source);
  });
}

/** x_{t+1} by the ODE of DDIM. */
export function ddimReverse(process: Process, modelOutput: Tensor, xt: Tensor, t: Timesteps): options.ReverseSample {
  return onImages(process, 'ddimReverseSample', { xt }, t, (x, steps) =>
    take(checked(process, 'ddimReverseSample', modelOutput, x, steps), { kind: 'ddimReverse' }, noNoise),
  );
}

/** A step's checked inputs. */
interface ReverseInputs {
  process: Process;
  /** The model's output. */
  output: Tensor;
  start: PredictedStart;
  xt: Tensor;
  t: Tensor;
}

function checked(process: Process, operation: string, modelOutput: Tensor, xt: Tensor, t: Tensor): ReverseInputs {
  const output = tensorOn(process.device, operation, 'modelOutput', modelOutput);
  expectOutput(operation, 'modelOutput', output, xt.shape, process.variance);
  return { process, output, start: predictedStart(process, operation, output, xt, t), xt, t };
}

function gradientLike(xt: Tensor, operation: string, gradient: unknown): Tensor | null {
  return gradient === undefined ? null : tensorLike(xt, operation, 'classifierGradient', gradient);
}

/** One reverse step. Of a process that predicts the mean of x_{t-1} that mean stays as it is, whatever becomes of x_0. */
function take(
  { process, output, start, xt, t }: ReverseInputs,
  { kind, eta }: Pick<ReverseTableOptions, 'kind' | 'eta'>,
  source: NoiseSource,
): options.ReverseSample {
  const variance = kind === 'ddpm' ? varianceKind(process.variance) : 'fixed';
  const isMean = kind === 'ddpm' || kind === 'mean';
  const direct = isMean && process.prediction === 'previous' && start.prediction !== 'previous';
  const joined = variance === 'fixed' || direct ? start.output : joinVariance(start, output);
  const table = process.tables.reverse(direct ? 'mean' : kind, eta, start.prediction);
  const { bound, clip } = start;
  if (!direct) return reverseStep({ output: joined, xt, t, table, bound, clip, variance, ...source });
  const { predXStart } = reverseStep({ output: joined, xt, t, table, bound, clip, variance: 'fixed', ...noNoise });
  const own = process.tables.reverse(kind, eta);
  return { sample: reverseStep({ output, xt, t, table: own, bound: null, clip: 0, variance, ...source }).sample, predXStart };
}

/** The variance of the reverse step and its logarithm: one a sample, or the model's, in the shape of the images. */
function varianceOf({ process: { tables, variance }, output, t }: ReverseInputs): { variance: Tensor; logVariance: Tensor } {
  if (isLearned(variance)) return modelVariance(output, t, tables.varianceRange(), variance);
  return pick(tables.fixedVariance(variance), t);
}

/** Adds variance·gradient to x_{t-1}. */
function shiftMean(inputs: ReverseInputs, sample: Tensor, gradient: Tensor): Tensor {
  const { variance, tables } = inputs.process;
  if (!isLearned(variance)) return blend(sample, gradient, inputs.t, tables.meanShift(variance));
  return noGrad(() => add(sample, mul(varianceOf(inputs).variance, gradient)));
}

/** Takes √(1-ᾱ)·gradient from ε, which adds (1-ᾱ)/√ᾱ·gradient to x_0; what comes out is not clipped again. */
function shiftStart(inputs: ReverseInputs, gradient: Tensor): ReverseInputs {
  const { process, t } = inputs;
  const { predXStart } = take(inputs, { kind: 'mean' }, noNoise);
  const output = blend(predXStart, gradient, t, process.tables.startShift());
  return { ...inputs, start: { output, prediction: 'sample', bound: null, clip: 0 } };
}
