import { noGrad } from '../autograd/tape.js';
import { mseLossPerSample } from '../ops/reduce.js';
import type { Program } from '../program.js';
import { noRng, type Rng, streams } from '../random.js';
import type { SeedState } from '../sampling/seeds.js';
import type { Tensor } from '../tensor.js';
import { applyNoising, blend, gather, reverseStep } from './kernels.js';
import { callModel, isPromise, type Model, releaseOutput } from './model.js';
import { joinVariance, predictedStart } from './predictedStart.js';
import type { Process } from './process.js';
import { varianceKind } from './tables.js';
import { measureBound } from './variationalBound.js';

/** Tensors that a batch takes over. */
interface BoundSources {
  /** i32 [N] */
  labels: Tensor | null;
  noises: readonly Tensor[] | null;
}

/**
 * The memory of images whose variational bound is measured step by step. A step of a network is recorded once and then replayed: what
 * varies between steps (t, seed state, given noise) is written to tensors that the recording reads.
 */
export class BoundBatch {
  readonly #process: Process;
  readonly #model: Model;
  readonly #sources: BoundSources;
  readonly #x0: Tensor;
  /** i32 [N]: the step. */
  readonly #t: Tensor;
  /** i32 [4]: seed (low, high), step, first sample. */
  readonly #state: Tensor;
  /** A copy of the given noise of the step. */
  readonly #noise: Tensor | null;
  /** [3, N]: the bound's term, and the squared errors of x_0 and of ε. */
  readonly #terms: Tensor;
  readonly #parts: readonly Tensor[];
  #program: Program | null = null;

  /** @param x0 f32 or u8; the caller may dispose it at once */
  constructor(process: Process, model: Model, x0: Tensor, sources: BoundSources) {
    const { device, tables } = process;
    const count = x0.shape[0] as number;
    this.#process = process;
    this.#model = model;
    this.#sources = sources;
    [this.#t, this.#state, this.#terms] = device.unscoped(() => [
      device.zeros([count], { dtype: 'i32' }),
      device.zeros([4], { dtype: 'i32' }),
      device.zeros([3, count]),
    ]);
    this.#parts = device.unscoped(() => [0, 1, 2].map((part) => this.#terms.alias([count], part * count)));
    this.#noise = sources.noises && device.unscoped(() => device.zeros(x0.shape));
    const start = () => applyNoising({ x0, t: this.#t, table: tables.signal(), ...still, keepStart: true }).x0;
    this.#x0 = device.unscoped(() => (x0.dtype === 'f32' ? x0.alias() : device.scope(start)));
  }

  /** KL(q(x_T | x_0) ‖ N(0, 1)) of each image in bits/dim. */
  async prior(): Promise<Float32Array> {
    const { device, schedule, tables } = this.#process;
    this.#t.write(new Int32Array(this.#t.size).fill(schedule.length - 1));
    const squares = noGrad(() =>
      device.scope(() => {
        const mean = blend(this.#x0, null, this.#t, tables.signal());
        return mseLossPerSample(mean, device.zeros(mean.shape));
      }),
    );
    const values = (await squares.read()) as Float32Array;
    squares.dispose();
    const alphaBar = schedule.alphasCumprod.at(-1) as number;
    // -ᾱ - log(1-ᾱ), where ᾱ is small without the difference of large terms
    return values.map((square) => (0.5 * (square - alphaBar - Math.log1p(-alphaBar))) / Math.LN2);
  }

  /** Enqueues evaluation `k`, at step T-1-k; a promise where the model is an async function. */
  step([low, high, step, first]: SeedState, firstSample: number, k: number): PromiseLike<void> | undefined {
    const { device, schedule } = this.#process;
    this.#t.write(new Int32Array(this.#t.size).fill(schedule.length - 1 - k));
    this.#state.write(Int32Array.of(low, high, step + k, first + firstSample));
    const given = this.#sources.noises?.[k];
    if (given && this.#noise) device.native.cast(given.handle, this.#noise.handle);
    if (typeof this.#model === 'function') return this.#enqueue();
    if (this.#program) {
      this.#program.run();
      return undefined;
    }
    this.#model.refreshWeights?.();
    this.#program = device.record(() => device.scope(() => void this.#enqueue()));
    return undefined;
  }

  /** The terms of the last step, [3, N]. */
  async read(): Promise<Float32Array> {
    return (await this.#terms.read()) as Float32Array;
  }

  #enqueue(): PromiseLike<void> | undefined {
    const { device, tables, variance } = this.#process;
    const rng: Rng = { fields: [this.#state.handle, 0, streams.noise, 0, 0], advance: noRng.advance };
    const [noised, t] = device.unscoped(() => {
      const inputs = { x0: this.#x0, t: this.#t, table: tables.signal(), flip: false, noise: this.#noise, rng };
      const noised = this.#noise ? { ...applyNoising(inputs), noise: null } : applyNoising({ ...inputs, keepNoise: true });
      return [noised, gather(tables.modelTimesteps(), this.#t)];
    });
    const release = () => {
      for (const tensor of [noised.xt, noised.noise, t]) tensor?.dispose();
    };
    const measure = (output: Tensor) => {
      try {
        noGrad(() => device.scope(() => this.#measure(output, noised.xt, (noised.noise ?? this.#noise) as Tensor)));
      } finally {
        releaseOutput(output);
        release();
      }
    };
    try {
      const { labels } = this.#sources;
      const output = callModel('bitsPerDimension', this.#model, noised.xt, t, { ...(labels && { labels }), variance });
      if (!isPromise(output)) {
        measure(output);
        return undefined;
      }
      return Promise.resolve(output).then(measure, (error) => {
        release();
        throw error;
      });
    } catch (error) {
      release();
      throw error;
    }
  }

  /** Of a process that predicts the mean of x_{t-1} the bound is that of this mean, whatever becomes of x_0. */
  #measure(output: Tensor, xt: Tensor, noise: Tensor): void {
    const { denoisedFn, dynamicThreshold, clipDenoised, prediction, tables, variance } = this.#process;
    const [vb, xStartMse, mse] = this.#parts as [Tensor, Tensor, Tensor];
    const [x0, t] = [this.#x0, this.#t];
    const inputs = { x0, xt, t, noise, variance: varianceKind(variance) };
    let start = { output, table: tables.bound(), clip: clipDenoised ? 1 : 0 };
    if (denoisedFn || dynamicThreshold) {
      const { output: changed, prediction: kind, bound, clip } = predictedStart(this.#process, 'bitsPerDimension', output, xt, t);
      const table = tables.reverse('mean', 0, kind);
      const { predXStart } = reverseStep({ output: changed, xt, t, table, bound, clip, noise: null, rng: noRng });
      const joined = joinVariance({ output: predXStart, prediction: 'sample', bound: null, clip: 0 }, output);
      start = { output: joined, table: tables.bound('sample'), clip: 0 };
    }
    measureBound(start.output, { ...inputs, ...start }, { vb, xStartMse, mse });
    if (prediction === 'previous')
      measureBound(output, { ...inputs, table: tables.bound(), clip: 0 }, { vb, xStartMse: null, mse: null });
  }

  dispose(): void {
    this.#program?.dispose();
    const { labels, noises } = this.#sources;
    const owned = [this.#x0, this.#t, this.#state, this.#terms, ...this.#parts, this.#noise, labels, ...(noises ?? [])];
    for (const tensor of owned) tensor?.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** No noise, no mirroring. */
const still = { noise: null, rng: noRng, flip: false };
