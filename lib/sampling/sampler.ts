import type { Device } from '../device.js';
import { DeviceTables } from '../diffusion/deviceTables.js';
import type { GaussianDiffusion } from '../diffusion/gaussian.js';
import { checkModel, type Model } from '../diffusion/model.js';
import { parseOptions } from '../options.js';
import type { Tensor } from '../tensor.js';
import type { StepInputs } from './advance.js';
import type { FromDiffusersOptions } from './diffusers/options.js';
import { planOfDiffusers } from './fromDiffusers.js';
import { planSampler } from './methods.js';
import {
  argumentsSchema,
  checkSamplerOptions,
  type SampleOptions,
  type SamplerOptions,
  type SamplerStepsOptions,
} from './options.js';
import { MadePlan, type SamplerPlan } from './plan.js';
import { checkRequest, holdSources, type SampleRequest } from './request.js';
import { copyRows, SampleBatch, type SampleSources } from './sampleBatch.js';
import { readSeed, type SeedState } from './seeds.js';
import { rowColumns } from './solvers/solution.js';

/** One model evaluation of `Sampler.steps`. The tensors live until the next one is asked for. */
export interface SamplerStep {
  /** 1 … total. */
  step: number;
  /** Model evaluations in all. */
  total: number;
  /** The step of the original schedule that the model was evaluated at; a fraction with methods that go by noise levels. */
  timestep: number;
  /** The samples after this step, [count, height, width, channels]; after the last one, the result. */
  x: Tensor;
  /** x_0 as the model predicts it at this step (clipped where the process says so), in the shape of `x`. */
  predXStart: Tensor;
}

/**
 * Draws images from a model of a diffusion process. Sample k of a seed is a function of (seed, k): it does not depend on the batch
 * that it is drawn in. Nothing is recorded for gradients. At most two steps are under way at a time.
 *
 * Methods reject (`steps` throws) before anything runs with OptionError, ShapeError, DTypeError, DeviceMismatchError or
 * DisposedError, naming the option; between two steps with the signal's reason, an AbortError, once it is aborted.
 */
export class Sampler {
  /** The process whose reverse it runs. */
  readonly diffusion: GaussianDiffusion;
  /** What predicts. */
  readonly model: Model;
  readonly #plan: SamplerPlan;
  readonly #shape: readonly number[] | undefined;
  readonly #tables: DeviceTables;

  /**
   * @param model a network such as `UNet`, whose steps are recorded and replayed, or a function, sync or async, that gets x_t
   * and the original timesteps.
   * @throws OptionError for a wrong option; DeviceMismatchError for a network on another device.
   */
  constructor(diffusion: GaussianDiffusion, model: Model, options: SamplerOptions = {}) {
    const owner = 'new Sampler';
    parseOptions(owner, argumentsSchema, { diffusion });
    checkModel(owner, model, diffusion.device);
    const checked = options instanceof MadePlan ? null : checkSamplerOptions(owner, options);
    this.diffusion = diffusion;
    this.model = model;
    this.#plan = checked ? planSampler(diffusion, checked) : (options as unknown as MadePlan).plan;
    this.#shape = options.shape;
    this.#tables = new DeviceTables('Sampler', diffusion.device);
    this.#stepInputs(1); // made now, so that calls leave no memory behind
  }

  /**
   * The sampler that a scheduler of diffusers is with its configuration (scheduler_config.json as an object or as text, in which
   * -Infinity may stand): DDPM, DDIM, DPMSolverMultistep, EulerDiscrete, EulerAncestralDiscrete or HeunDiscreteScheduler.
   * @throws OptionError naming the key and the value, or the option; FileFormatError for text that is not JSON.
   */
  static fromDiffusers(schedulerConfig: object | string, device: Device, model: Model, options?: FromDiffusersOptions): Sampler {
    const { diffusion, plan, shape } = planOfDiffusers(schedulerConfig, device, options);
    return new Sampler(diffusion, model, new MadePlan(plan, shape));
  }

  /** Where the samples are made. */
  get device(): Device {
    return this.diffusion.device;
  }

  /** The original timesteps of the model evaluations, in their order; f32 for methods that go by noise levels. */
  get timesteps(): Int32Array | Float32Array {
    return this.#plan.timesteps.slice();
  }

  /** σ = √((1-ᾱ)/ᾱ) at the start of each step, and at the end, for methods that go by noise levels; null for 'ddpm' and 'ddim'. */
  get sigmas(): Float64Array | null {
    return this.#plan.sigmas?.slice() ?? null;
  }

  /** Standard deviation of x_T, which `initial` must have: 1, but about the first σ for 'euler', 'eulerAncestral' and 'heun'. */
  get initialScale(): number {
    return this.#plan.initialScale;
  }

  /** Samples `first` … `first + count - 1` of a seed, [count, height, width, channels]. */
  async sample(options: SampleOptions = {}): Promise<Tensor> {
    const request = this.#check('sample', options);
    const { count, batchSize, shape } = request;
    using sources = holdSources(this.device, request);
    const seed = await readSeed(request.seed);
    using batch = this.#batch(request, sources);
    const images = this.device.empty([count, ...shape], 'f32');
    try {
      for (let offset = 0; offset < count; offset += batchSize) {
        for await (const _ of this.#walk(batch, request, sources, seed, offset));
        copyRows(batch.x, 0, images, offset);
      }
      return images;
    } catch (error) {
      images.dispose();
      throw error;
    }
  }

  /** The reverse process of `count` samples, all in one batch, a model evaluation an item; leaving the loop frees everything. */
  steps(options: SamplerStepsOptions = {}): AsyncGenerator<SamplerStep, void, undefined> {
    return this.#iterate(this.#check('steps', options));
  }

  async *#iterate(request: SampleRequest): AsyncGenerator<SamplerStep, void, undefined> {
    using sources = holdSources(this.device, request);
    const seed = await readSeed(request.seed);
    using batch = this.#batch(request, sources);
    const { total, timesteps } = this.#plan;
    for await (const k of this.#walk(batch, request, sources, seed, 0)) {
      using x = batch.x.alias();
      using predXStart = batch.predXStart.alias();
      yield { step: k + 1, total, timestep: timesteps[k] as number, x, predXStart };
    }
  }

  /** The model evaluations of one batch, from high noise to low: yields k once evaluation k is enqueued. */
  async *#walk(
    batch: SampleBatch,
    { first, signal }: SampleRequest,
    sources: SampleSources,
    seed: SeedState,
    offset: number,
  ): AsyncGenerator<number, void, undefined> {
    const { total, draw } = this.#plan;
    let before = Promise.resolve();
    for (let k = 0; k < total; k++) {
      signal?.throwIfAborted();
      this.#tables.check();
      if (k === 0) batch.begin(seed, first, offset, sources);
      const drawn = draw(k);
      const noise = drawn === null ? null : (sources.noises?.[drawn] ?? null);
      await batch.step(seed, first, offset, k, noise);
      const done = this.device.synchronize();
      done.catch(() => {}); // awaited one step later
      yield k;
      await before;
      before = done;
    }
  }

  #check(operation: 'sample' | 'steps', options: SampleOptions): SampleRequest {
    this.#tables.check();
    const { device, model } = this;
    return checkRequest(operation, { device, model, plan: this.#plan, shape: this.#shape }, options);
  }

  #batch({ batchSize, shape, guidance }: SampleRequest, sources: SampleSources): SampleBatch {
    return new SampleBatch(this.#stepInputs(guidance), [batchSize, ...shape], sources);
  }

  #stepInputs(guidance: number): StepInputs {
    const plan = this.#plan;
    const { device, model, diffusion } = this;
    const { denoisedFn } = diffusion;
    const table = (name: string, columns: number, values: Float64Array | null | undefined) =>
      values ? this.#tables.get(name, columns, () => values) : null;
    return {
      ...{ device, model, plan, guidance, denoisedFn },
      table: this.#tables.get('reverse', rowColumns, () => plan.table),
      timesteps: this.#tables.get('timesteps', 1, () => plan.modelTimesteps),
      inputTable: table('inputs', 2, plan.inputs),
      churnTable: table('churn', 2, plan.churn?.rows),
      predictionTable: table('predictions', rowColumns, plan.predictions),
      outputTable: table('outputs', rowColumns, denoisedFn && plan.outputs),
      denoisedTable: table('denoised', rowColumns, (denoisedFn || (plan.predictions && plan.threshold)) && plan.denoised),
    };
  }

  /** Frees the coefficients; calls under way reject with DisposedError at their next step. */
  dispose(): void {
    this.#tables.dispose();
  }

  /** For `using`: the same as `dispose`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}
