import type { Device } from '../device.js';
import { DeviceTables } from '../diffusion/deviceTables.js';
import type { GaussianDiffusion } from '../diffusion/gaussian.js';
import { checkModel, type Model } from '../diffusion/model.js';
import { modelTimesteps, reverseColumns, varianceKind } from '../diffusion/tables.js';
import { parseOptions } from '../options.js';
import type { Tensor } from '../tensor.js';
import { argumentsSchema, type SampleOptions, type SamplerOptions, type SamplerStepsOptions, samplerSchema } from './options.js';
import { planSampler, type SamplerPlan } from './plan.js';
import { checkRequest, holdSources, type SampleRequest } from './request.js';
import { copyRows, SampleBatch, type SampleSources } from './sampleBatch.js';
import { readSeed, type SeedState } from './seeds.js';

/** One model evaluation of `Sampler.steps`. The tensors live until the next one is asked for. */
export interface SamplerStep {
  /** 1 … total. */
  step: number;
  /** Model evaluations in all. */
  total: number;
  /** The step of the original schedule that the model was evaluated at. */
  timestep: number;
  /** The samples after this step, [count, height, width, channels]; after the last one, the result. */
  x: Tensor;
  /** x_0 as the model predicts it at this step (clipped with `clipDenoised`), in the shape of `x`. */
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
  readonly #method: 'ddpm' | 'ddim';
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
    const { shape, ...method } = parseOptions(owner, samplerSchema, options);
    this.diffusion = diffusion;
    this.model = model;
    this.#plan = planSampler(diffusion.schedule, diffusion, method);
    this.#shape = shape;
    this.#method = method.method;
    this.#tables = new DeviceTables('Sampler', diffusion.device);
    this.#stepInputs(); // made now, so that calls leave no memory behind
  }

  /** Where the samples are made. */
  get device(): Device {
    return this.diffusion.device;
  }

  /** The original timesteps of the model evaluations, in their order. */
  get timesteps(): Int32Array {
    return this.#plan.schedule.timesteps.toReversed();
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
    const { total, row, schedule } = this.#plan;
    for await (const k of this.#walk(batch, request, sources, seed, 0)) {
      using x = batch.x.alias();
      using predXStart = batch.predXStart.alias();
      yield { step: k + 1, total, timestep: schedule.timesteps[row(k)] as number, x, predXStart };
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
    const { total, row, draw } = this.#plan;
    let before = Promise.resolve();
    for (let k = 0; k < total; k++) {
      signal?.throwIfAborted();
      this.#tables.check();
      if (k === 0) batch.begin(seed, first, offset, sources);
      const drawn = draw(k);
      const noise = drawn === null ? null : (sources.noises?.[drawn] ?? null);
      await batch.step(seed, first, offset, { k, row: row(k), noise });
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

  #batch({ batchSize, shape }: SampleRequest, sources: SampleSources): SampleBatch {
    return new SampleBatch(this.#stepInputs(), [batchSize, ...shape], sources);
  }

  #stepInputs() {
    const { device, model, diffusion } = this;
    const { schedule, table } = this.#plan;
    return {
      device,
      model,
      table: this.#tables.get('reverse', reverseColumns, () => table),
      timesteps: this.#tables.get('timesteps', 1, () => modelTimesteps(schedule, diffusion.rescaleTimesteps)),
      clip: diffusion.clipDenoised ? 1 : 0,
      variance: diffusion.variance,
      varianceKind: this.#method === 'ddpm' ? varianceKind(diffusion.variance) : ('fixed' as const),
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
