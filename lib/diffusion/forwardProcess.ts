import { ShapeError } from '../errors.js';
import { parseOptions } from '../options.js';
import { streams } from '../random.js';
import type { Tensor } from '../tensor.js';
import { type NoiseOptions, noiseSource, type Timesteps, tensorLike } from './arguments.js';
import * as options from './gaussianOptions.js';
import { applyNoising, blend, gather, type NoisingInputs } from './kernels.js';
import { imageTypes, onImages, type Process } from './process.js';

/** x_t ~ q(x_t | x_{t-1}). */
export function forwardStep(process: Process, xPrev: Tensor, t: Timesteps, given: NoiseOptions): Tensor {
  return onImages(process, 'qStep', { xPrev }, t, (x0, steps) => {
    const parsed = parseOptions('qStep', options.noiseSchema, given) as NoiseOptions;
    const source = noiseSource('qStep', x0, parsed, streams.noise, parsed.noise === undefined);
    return applyNoising({ x0, t: steps, table: process.tables.forwardStep(), flip: false, ...source }).xt;
  });
}

/** x_t ~ q(x_t | x_0), and the noise in it. */
export function noisedSample(process: Process, x0: Tensor, t: Timesteps, given: options.QSampleOptions): options.NoisedSample {
  const parsed = parseOptions('qSample', options.qSampleSchema, given) as options.QSampleOptions;
  const noise = (x: Tensor, steps: Tensor) => {
    const inputs = noisingInputs(process, 'qSample', x, steps, parsed);
    if (inputs.noise) return { xt: applyNoising(inputs).xt, noise: inputs.noise.alias() };
    return applyNoising({ ...inputs, keepNoise: true });
  };
  return onImages(process, 'qSample', { x0 }, t, noise, imageTypes);
}

/** q(x_t | x_0). */
export function marginal(process: Process, x0: Tensor, t: Timesteps): options.GaussianMoments {
  const { tables } = process;
  return onImages(process, 'qMeanVariance', { x0 }, t, (x, steps) => ({
    mean: blend(x, null, steps, tables.signal()),
    ...pick(tables.marginalVariance(), steps),
  }));
}

/** q(x_{t-1} | x_t, x_0). */
export function posterior(process: Process, x0: Tensor, xt: Tensor, t: Timesteps): options.GaussianMoments {
  const { tables } = process;
  return onImages(process, 'qPosterior', { x0 }, t, (x, steps) => ({
    mean: blend(x, tensorLike(x, 'qPosterior', 'xt', xt), steps, tables.posterior()),
    ...pick(tables.fixedVariance('fixedSmall'), steps),
  }));
}

/** Inputs of the noising kernel for a jump from x0 to t, with noise that is given or drawn. */
export function noisingInputs(
  { tables }: Process,
  operation: string,
  x0: Tensor,
  t: Tensor,
  { flip = false, ...given }: options.QSampleOptions,
): NoisingInputs {
  if (flip && x0.shape.length !== 4) throw new ShapeError(`${operation}: flip needs x0 of [n, h, w, c], got [${x0.shape}]`);
  const source = noiseSource(operation, x0, given, streams.noise, flip || given.noise === undefined);
  return { x0, t, table: tables.signal(), flip, ...source };
}

/** A variance and its logarithm at the steps of a batch, [N]. */
export function pick({ variance, logVariance }: { variance: Tensor; logVariance: Tensor }, t: Tensor) {
  return { variance: gather(variance, t), logVariance: gather(logVariance, t) };
}
