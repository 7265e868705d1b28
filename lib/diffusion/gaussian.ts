import { Device } from '../device.js';
import { DisposedError, OptionError } from '../errors.js';
import { parseOptions, show } from '../options.js';
import type { Tensor } from '../tensor.js';
import { labelsOf, type NoiseOptions, type Timesteps } from './arguments.js';
import { type BitsPerDimension, type BitsPerDimensionOptions, bitsPerDimension } from './bitsPerDimension.js';
import * as forward from './forwardProcess.js';
import * as options from './gaussianOptions.js';
import { gather } from './kernels.js';
import { checkModel, type Model, type ModelFunction, type Network } from './model.js';
import { objective } from './objective.js';
import { imageTypes, onImages, type Process } from './process.js';
import { ProcessTables } from './processTables.js';
import * as reverse from './reverseProcess.js';
import { NoiseSchedule } from './schedule.js';
import type { Prediction, Variance } from './tables.js';

/** Losses at once, or a promise of them when the model is an async function. */
export type LossesOf<M extends Model> = M extends Network | ModelFunction<Tensor>
  ? options.TrainingLosses
  : M extends ModelFunction<Promise<Tensor>>
    ? Promise<options.TrainingLosses>
    : options.TrainingLosses | Promise<options.TrainingLosses>;

/**
 * The Gaussian diffusion process over a schedule (Ho et al. 2020, arXiv 2006.11239): noising, its posterior, one reverse step by
 * DDPM or DDIM, and the training objective. Images are f32 [N, H, W, C] in [-1, 1], or of any shape with samples first; steps t
 * are 0-based, one a sample. Coefficients are computed in float64 and applied in float32.
 *
 * Every method checks its arguments at once, naming the method and the argument: OptionError (unknown option, t out of range),
 * ShapeError, DTypeError, DeviceMismatchError, DisposedError. Steps in a tensor are checked when the operation runs.
 *
 * Noise that is not given is drawn by (seed, stream, firstSample + index in the batch, step, element): a sample's noise does not
 * depend on its batch. `stream` is `streams.noise` forwards and `streams.samplerNoise` backwards unless given; loops over t with
 * one seed separate their draws by `step`. Only `trainingLosses` is differentiable.
 */
export class GaussianDiffusion {
  /** Where it computes; tensors handed to it must be there. */
  readonly device: Device;
  /** The schedule whose steps t are counted. */
  readonly schedule: NoiseSchedule;
  /** What the model outputs. */
  readonly prediction: Prediction;
  /** Variance of a reverse step, or how the model puts it out. */
  readonly variance: Variance;
  /** Whether predictions of x_0 are clipped to [-1, 1]. */
  readonly clipDenoised: boolean;
  /** What changes predictions of x_0 before they are clipped. */
  readonly denoisedFn: ((predXStart: Tensor) => Tensor) | undefined;
  /** Clipping that adapts to each sample, in place of `clipDenoised`. */
  readonly dynamicThreshold: Required<options.DynamicThreshold> | undefined;
  /** Whether the model gets t·1000/T instead of t. */
  readonly rescaleTimesteps: boolean;
  /** Objective of `trainingLosses`. */
  readonly loss: options.LossKind;
  /** Weight of a step's error in the objective. */
  readonly lossWeighting: 'none' | 'minSnr';
  /** γ of `lossWeighting` 'minSnr'. */
  readonly minSnrGamma: number;
  /** How training draws its steps. */
  readonly timestepSampler: 'uniform' | 'lossSecondMoment';
  readonly #process: Process;

  /** @throws OptionError for a wrong argument or option, or options that do not go together; DisposedError for a closed device. */
  constructor(device: Device, schedule: NoiseSchedule, given: options.GaussianDiffusionOptions = {}) {
    if (!(device instanceof Device)) throw new OptionError(`new GaussianDiffusion: device must be a Device, got ${show(device)}`);
    if (device.closed) throw new DisposedError(`new GaussianDiffusion: device '${device.info.id}' is closed`);
    if (!(schedule instanceof NoiseSchedule))
      throw new OptionError(`new GaussianDiffusion: schedule must be a NoiseSchedule, got ${show(schedule)}`);
    const checked = options.checkDiffusionOptions(given);
    this.device = device;
    this.schedule = schedule;
    this.prediction = checked.prediction;
    this.variance = checked.variance;
    this.clipDenoised = checked.clipDenoised;
    this.denoisedFn = checked.denoisedFn;
    this.dynamicThreshold = checked.dynamicThreshold;
    this.rescaleTimesteps = checked.rescaleTimesteps;
    this.loss = checked.loss;
    this.lossWeighting = checked.lossWeighting;
    this.minSnrGamma = checked.minSnrGamma;
    this.timestepSampler = checked.timestepSampler;
    this.#process = { ...checked, device, schedule, tables: new ProcessTables({ ...checked, device, schedule }) };
  }

  /** x_t ~ q(x_t | x_{t-1}) = N(√(1-β_t)·x_{t-1}, β_t), in one pass. */
  qStep(xPrev: Tensor, t: Timesteps, given: NoiseOptions = {}): Tensor {
    return forward.forwardStep(this.#process, xPrev, t, given);
  }

  /**
   * x_t = √ᾱ_t·x_0 + √(1-ᾱ_t)·ε and the ε used, in one pass. x0 may be u8 images, which become x/127.5 - 1; with `flip` half of the
   * images, decided by the seed, are mirrored left-right first.
   */
  qSample(x0: Tensor, t: Timesteps, given: options.QSampleOptions = {}): options.NoisedSample {
    return forward.noisedSample(this.#process, x0, t, given);
  }

  /** q(x_t | x_0): mean √ᾱ_t·x_0, variance 1-ᾱ_t. */
  qMeanVariance(x0: Tensor, t: Timesteps): options.GaussianMoments {
    return forward.marginal(this.#process, x0, t);
  }

  /** q(x_{t-1} | x_t, x_0): mean by eq. 7 of Ho et al. 2020, variance β̃_t; its logarithm at t = 0 is that of t = 1. */
  qPosterior(x0: Tensor, xt: Tensor, t: Timesteps): options.GaussianMoments {
    return forward.posterior(this.#process, x0, xt, t);
  }

  /**
   * p(x_{t-1} | x_t) of the model's output, and x_0 as predicted (clipped with `clipDenoised`). A learned variance is one value an
   * element; the output has the prediction's channels first, then as many for the variance.
   */
  pMeanVariance(modelOutput: Tensor, xt: Tensor, t: Timesteps): options.ReverseMoments {
    return reverse.reverseMoments(this.#process, modelOutput, xt, t);
  }

  /** x_{t-1} ~ p(x_{t-1} | x_t) in one pass; no noise at t = 0. */
  pSample(modelOutput: Tensor, xt: Tensor, t: Timesteps, given: options.PSampleOptions = {}): options.ReverseSample {
    return reverse.ancestralSample(this.#process, modelOutput, xt, t, given);
  }

  /**
   * One step of DDIM (Song et al. 2021, eq. 12) in one pass; ε is derived again from the clipped x_0, as improved-diffusion does, and
   * a learned variance is not used.
   */
  ddimSample(modelOutput: Tensor, xt: Tensor, t: Timesteps, given: options.DdimSampleOptions = {}): options.ReverseSample {
    return reverse.ddimSample(this.#process, modelOutput, xt, t, given);
  }

  /** x_{t+1} by the ODE of DDIM, without noise; after the last step ᾱ = 0. */
  ddimReverseSample(modelOutput: Tensor, xt: Tensor, t: Timesteps): options.ReverseSample {
    return reverse.ddimReverse(this.#process, modelOutput, xt, t);
  }

  /**
   * Noises x0 (f32, or u8 images) to steps t, runs the model (a network with `train: true`) on it and the original steps, and
   * compares its output with what `prediction` and `loss` say. Losses are one a sample, [N], and differentiable; a promise when the
   * model is async. Throws ShapeError naming 'model output' when that is not shaped like x0, with twice the channels where the
   * variance is learned.
   */
  trainingLosses<M extends Model>(model: M, x0: Tensor, t: Timesteps, given: options.TrainingLossesOptions = {}): LossesOf<M> {
    const operation = 'trainingLosses';
    const process = this.#process;
    checkModel(operation, model, this.device);
    const { labels, ...parsed } = parseOptions(operation, options.trainingLossesSchema, given) as typeof given;
    const prepare = (x: Tensor, steps: Tensor) => ({
      ...forward.noisingInputs(process, operation, x, steps.alias(), parsed),
      labels: labels === undefined ? undefined : labelsOf(this.device, operation, labels, x.shape[0] as number),
      modelTimesteps: gather(process.tables.modelTimesteps(), steps),
      seed: parsed.seed,
    });
    // Unscoped: the batch lives until an async model has settled.
    const batch = this.device.unscoped(() => onImages(process, operation, { x0 }, t, prepare, imageTypes));
    return objective(process, model, batch) as LossesOf<M>;
  }

  /**
   * The variational bound on the negative log-likelihood of images (f32, or u8), in bits per dimension (Nichol & Dhariwal 2021,
   * section 2.2): a term for each step from t = T-1 down to 0, and the prior's. The model is run without dropout, T times; at most
   * two evaluations are under way, and the event loop is never held up. `predXStart` is clipped as in sampling.
   * @throws At once as `trainingLosses`; rejects with what an async model or a device throws, or the signal's reason.
   */
  bitsPerDimension(model: Model, x0: Tensor, given: BitsPerDimensionOptions = {}): Promise<BitsPerDimension> {
    return bitsPerDimension(this.#process, model, x0, given);
  }

  /** Frees the coefficient tables. */
  dispose(): void {
    this.#process.tables.dispose();
  }

  /** For `using`: the same as `dispose`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}
