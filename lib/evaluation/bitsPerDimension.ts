import { NonFiniteError } from '../errors.js';
import { batchesOf, checkEvaluation, type EvaluationOptions, meanOf } from './evaluation.js';

/** Options of `evaluateBits`. */
export interface EvaluateBitsOptions extends EvaluationOptions {
  /** How many images, drawn by `seed` without repetition; 8, or all if there are fewer. Each takes T evaluations of the model. */
  count?: number;
}

/** What `evaluateBits` gives, each a mean over the images. */
export interface BitsEvaluation {
  /** How many were evaluated. */
  images: number;
  /** The variational bound on -log₂ p(x_0) in bits per dimension. */
  bitsPerDimension: number;
  /** Standard error of that mean over the images; 0 for one image. */
  standardError: number;
  /** The part of the prior, KL(q(x_T | x_0) ‖ N(0, 1)). */
  prior: number;
  /** The part of the last step, -log₂ p(x_0 | x_1). */
  decoder: number;
}

const owner = 'evaluateBits';

/**
 * The variational bound on the negative log-likelihood of images in bits per dimension, by `GaussianDiffusion.bitsPerDimension`. One
 * seed gives the same images and noise, for any model of the process.
 * @throws OptionError, ShapeError, DatasetError, DeviceMismatchError; rejects with NonFiniteError, with what reading the images throws,
 * or the signal's reason.
 */
export async function evaluateBits(given: EvaluateBitsOptions): Promise<BitsEvaluation> {
  const options = checkEvaluation(owner, given, 8);
  const { model, diffusion, data, seed, signal, onProgress, count, batchSize } = options;
  const steps = diffusion.schedule.length;
  const evaluations = Math.ceil(count / batchSize) * steps;
  const found = { total: new Float64Array(count), prior: new Float64Array(count), decoder: new Float64Array(count) };
  for await (const { first, size, images, labels } of batchesOf(options)) {
    using x0 = model.device.tensor(images, [size, ...data.shape]);
    const before = (first / batchSize) * steps;
    const bits = await diffusion.bitsPerDimension(model, x0, {
      ...{ seed, firstSample: first, signal },
      ...(labels && { labels: labels.slice() }),
      onProgress: (done) => onProgress?.(before + done, evaluations),
    });
    found.total.set(bits.totalBpd, first);
    found.prior.set(bits.priorBpd, first);
    bits.vb.forEach((terms, n) => {
      found.decoder[first + n] = terms.at(-1) as number;
    });
  }
  const { mean: bitsPerDimension, standardError } = meanOf(found.total);
  if (!Number.isFinite(bitsPerDimension)) throw new NonFiniteError(`${owner}: the bound is ${bitsPerDimension}`);
  const [prior, decoder] = [meanOf(found.prior).mean, meanOf(found.decoder).mean];
  return { images: count, bitsPerDimension, standardError, prior, decoder };
}
