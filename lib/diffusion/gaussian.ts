import { Device } from '../device.js';
import { OptionError, ShapeError } from '../errors.js';
import type { DType } from '../native.js';
import { parseOptions, show } from '../options.js';
import { noRng, streams } from '../random.js';
import type { Tensor } from '../tensor.js';
import { labelsOf, type NoiseOptions, noiseSource, type Timesteps, tensorLike, tensorOn, timestepsOf } from './arguments.js';
import * as options from './gaussianOptions.js';
import { applyNoising, blend, gather, type NoisingInputs, reverseStep } from './kernels.js';
import { meanSquaredErrors } from './losses.js';
import { checkModel, type Model, type ModelFunction, type Network } from './model.js';
import { ProcessTables } from './processTables.js';
import { NoiseSchedule } from './schedule.js';
import type { FixedVariance, Prediction } from './tables.js';

/** What a reverse step gives: the next x, and x_0 as predicted (clipped with `clipDenoised`), both in the shape of xt. */
export interface ReverseSample {
  /** The next x. */
  sample: Tensor;
  /** x_0 as predicted. */
  predXStart: Tensor;
}

/** Losses at once, or a promise of them when the model is an async function. */
export type LossesOf<M extends Model> = M extends Network | ModelFunction<Tensor>
  ? options.TrainingLosses
  : M extends ModelFunction<Promise<Tensor>>
    ? Promise<options.TrainingLosses>
    : options.TrainingLosses | Promise<options.TrainingLosses>;

/** Images as `qSample` and `trainingLosses` take them. */
const imageTypes: readonly DType[] = ['f32', 'u8'];

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
  /** Variance of a reverse step. */
  readonly variance: FixedVariance;
  /** Whether predictions of x_0 are clipped to [-1, 1]. */
  readonly clipDenoised: boolean;
  /** Whether the model gets t·1000/T instead of t. */
  readonly rescaleTimesteps: boolean;
  /** Objective of `trainingLosses`. */
  readonly loss: 'mse';
  /** Weight of a step in the objective. */
  readonly lossWeighting: 'none';
  /** How training draws its steps. */
  readonly timestepSampler: 'uniform';
  readonly #tables: ProcessTables;

  /** @throws OptionError for a wrong argument or option. */
  constructor(device: Device, schedule: NoiseSchedule, given: options.GaussianDiffusionOptions = {}) {
    if (!(device instanceof Device)) throw new OptionError(`new GaussianDiffusion: device must be a Device, got ${show(device)}`);
    if (!(schedule instanceof NoiseSchedule))
      throw new OptionError(`new GaussianDiffusion: schedule must be a NoiseSchedule, got ${show(schedule)}`);
    const checked = parseOptions('new GaussianDiffusion', options.diffusionSchema, given);
    this.device = device;
    this.schedule = schedule;
    this.prediction = checked.prediction;
    this.variance = checked.variance;
    this.clipDenoised = checked.clipDenoised;
    this.rescaleTimesteps = checked.rescaleTimesteps;
    this.loss = checked.loss;
    this.lossWeighting = checked.lossWeighting;
    this.timestepSampler = checked.timestepSampler;
    this.#tables = new ProcessTables(this);
  }

  /** x_t ~ q(x_t | x_{t-1}) = N(√(1-β_t)·x_{t-1}, β_t), in one pass. */
  qStep(xPrev: Tensor, t: Timesteps, given: NoiseOptions = {}): Tensor {
    return this.#run('qStep', { xPrev }, t, (x0, steps) => {
      const parsed = parseOptions('qStep', options.noiseSchema, given) as NoiseOptions;
      const source = noiseSource('qStep', x0, parsed, streams.noise, parsed.noise === undefined);
      return applyNoising({ x0, t: steps, table: this.#tables.forwardStep(), flip: false, ...source }).xt;
    });
  }

  /**
   * x_t = √ᾱ_t·x_0 + √(1-ᾱ_t)·ε and the ε used, in one pass. x0 may be u8 images, which become x/127.5 - 1; with `flip` half of the
   * images, decided by the seed, are mirrored left-right first.
   */
  qSample(x0: Tensor, t: Timesteps, given: options.QSampleOptions = {}): options.NoisedSample {
    const parsed = parseOptions('qSample', options.qSampleSchema, given) as options.QSampleOptions;
    const noise = (x: Tensor, steps: Tensor) => {
      const inputs = this.#noising('qSample', x, steps, parsed);
      if (inputs.noise) return { xt: applyNoising(inputs).xt, noise: inputs.noise.alias() };
      return applyNoising({ ...inputs, keepNoise: true });
    };
    return this.#run('qSample', { x0 }, t, noise, imageTypes);
  }

  /** q(x_t | x_0): mean √ᾱ_t·x_0, variance 1-ᾱ_t. */
  qMeanVariance(x0: Tensor, t: Timesteps): options.GaussianMoments {
    return this.#run('qMeanVariance', { x0 }, t, (x, steps) => ({
      mean: blend(x, null, steps, this.#tables.signal()),
      ...pick(this.#tables.marginalVariance(), steps),
    }));
  }

  /** q(x_{t-1} | x_t, x_0): mean by eq. 7 of Ho et al. 2020, variance β̃_t; its logarithm at t = 0 is that of t = 1. */
  qPosterior(x0: Tensor, xt: Tensor, t: Timesteps): options.GaussianMoments {
    return this.#run('qPosterior', { x0 }, t, (x, steps) => ({
      mean: blend(x, tensorLike(x, 'qPosterior', 'xt', xt), steps, this.#tables.posterior()),
      ...pick(this.#tables.reverseVariance('fixedSmall'), steps),
    }));
  }

  /** p(x_{t-1} | x_t) of the model's output, and x_0 as predicted (clipped with `clipDenoised`). */
  pMeanVariance(modelOutput: Tensor, xt: Tensor, t: Timesteps): options.ReverseMoments {
    return this.#run('pMeanVariance', { xt }, t, (x, steps) => {
      const inputs = this.#reverse('pMeanVariance', modelOutput, x, steps);
      const { sample, predXStart } = reverseStep({ ...inputs, table: this.#tables.reverse('mean') });
      return { mean: sample, ...pick(this.#tables.reverseVariance(), steps), predXStart };
    });
  }

  /** x_{t-1} ~ p(x_{t-1} | x_t) in one pass; no noise at t = 0. */
  pSample(modelOutput: Tensor, xt: Tensor, t: Timesteps, given: NoiseOptions = {}): ReverseSample {
    const parsed = parseOptions('pSample', options.noiseSchema, given) as NoiseOptions;
    return this.#run('pSample', { xt }, t, (x, steps) => {
      const inputs = this.#reverse('pSample', modelOutput, x, steps);
      const source = noiseSource('pSample', x, parsed, streams.samplerNoise, parsed.noise === undefined);
      return reverseStep({ ...inputs, table: this.#tables.reverse('ddpm'), ...source });
    });
  }

  /** One step of DDIM (Song et al. 2021, eq. 12) in one pass; ε is derived again from the clipped x_0, as improved-diffusion does. */
  ddimSample(modelOutput: Tensor, xt: Tensor, t: Timesteps, given: options.DdimSampleOptions = {}): ReverseSample {
    const { eta, ...parsed } = parseOptions('ddimSample', options.ddimSchema, given) as NoiseOptions & { eta: number };
    return this.#run('ddimSample', { xt }, t, (x, steps) => {
      const inputs = this.#reverse('ddimSample', modelOutput, x, steps);
      const source = noiseSource('ddimSample', x, parsed, streams.samplerNoise, eta > 0 && parsed.noise === undefined);
      return reverseStep({ ...inputs, table: this.#tables.reverse('ddim', eta), ...source });
    });
  }

  /** x_{t+1} by the ODE of DDIM, without noise; after the last step ᾱ = 0. */
  ddimReverseSample(modelOutput: Tensor, xt: Tensor, t: Timesteps): ReverseSample {
    return this.#run('ddimReverseSample', { xt }, t, (x, steps) => {
      const inputs = this.#reverse('ddimReverseSample', modelOutput, x, steps);
      return reverseStep({ ...inputs, table: this.#tables.reverse('ddimReverse') });
    });
  }

  /**
   * Noises x0 (f32, or u8 images) to steps t, runs the model (a network with `train: true`) on it and the original steps, and
   * compares its output with what `prediction` says. Losses are one a sample, [N], and differentiable; a promise when the model is
   * async. Throws ShapeError naming 'model output' when that is not shaped like x0.
   */
  trainingLosses<M extends Model>(model: M, x0: Tensor, t: Timesteps, given: options.TrainingLossesOptions = {}): LossesOf<M> {
    checkModel('trainingLosses', model, this.device);
    const { labels, ...parsed } = parseOptions('trainingLosses', options.trainingLossesSchema, given) as typeof given;
    const prepare = (x: Tensor, steps: Tensor) => ({
      ...this.#noising('trainingLosses', x, steps.alias(), parsed),
      labels: labels === undefined ? undefined : labelsOf(this.device, 'trainingLosses', labels, x.shape[0] as number),
      modelTimesteps: gather(this.#tables.modelTimesteps(), steps),
      seed: parsed.seed,
    });
    // Unscoped: the batch lives until an async model has settled.
    const batch = this.device.unscoped(() => this.#run('trainingLosses', { x0 }, t, prepare, imageTypes));
    return meanSquaredErrors(model, this.prediction, batch) as LossesOf<M>;
  }

  /** Frees the coefficient tables. */
  dispose(): void {
    this.#tables.dispose();
  }

  /** For `using`: the same as `dispose`. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Checks the images, given by their argument's name, and the steps; runs `body` on them and frees what it does not return. */
  #run<T>(
    operation: string,
    images: Record<string, Tensor>,
    t: Timesteps,
    body: (x: Tensor, steps: Tensor) => T,
    dtypes: readonly DType[] = ['f32'],
  ): T {
    this.#tables.check();
    const [[argument, value]] = Object.entries(images) as [[string, Tensor]];
    const x = tensorOn(this.device, operation, argument, value, ...dtypes);
    return this.device.scope(() => body(x, timestepsOf(this.device, operation, t, x.shape[0] as number, this.schedule.length)));
  }

  #noising(operation: string, x0: Tensor, t: Tensor, { flip = false, ...given }: options.QSampleOptions): NoisingInputs {
    if (flip && x0.shape.length !== 4) throw new ShapeError(`${operation}: flip needs x0 of [n, h, w, c], got [${x0.shape}]`);
    const source = noiseSource(operation, x0, given, streams.noise, flip || given.noise === undefined);
    return { x0, t, table: this.#tables.signal(), flip, ...source };
  }

  #reverse(operation: string, modelOutput: Tensor, xt: Tensor, t: Tensor) {
    const output = tensorLike(xt, operation, 'modelOutput', modelOutput);
    return { output, xt, t, clip: this.clipDenoised ? 1 : 0, noise: null, rng: noRng };
  }
}

function pick({ variance, logVariance }: { variance: Tensor; logVariance: Tensor }, t: Tensor) {
  return { variance: gather(variance, t), logVariance: gather(logVariance, t) };
}
