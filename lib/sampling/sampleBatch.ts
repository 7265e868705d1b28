import { callModel, isPromise, releaseOutput } from '../diffusion/model.js';
import type { Program } from '../program.js';
import { streams } from '../random.js';
import type { Tensor } from '../tensor.js';
import { advance, churn, type StepInputs, type StepState } from './advance.js';
import type { SamplerPlan } from './plan.js';
import type { SeedState } from './seeds.js';

/** Tensors of all samples, of which a batch takes its part. */
export interface SampleSources {
  labels: Tensor | null;
  initial: Tensor | null;
  noises: readonly Tensor[] | null;
}

/**
 * The memory of samples that go through the model together. A step of a network is recorded once and then replayed: what varies
 * between steps (row, seed state, given noise) is written to tensors that the recording reads.
 */
export class SampleBatch {
  readonly x: Tensor;
  readonly predXStart: Tensor;
  readonly size: number;
  readonly #inputs: StepInputs;
  readonly #state: StepState;
  /** A row for each image that the model sees: twice the samples with guidance. */
  readonly #rows: Tensor;
  readonly #labels: Tensor | null;
  /** What the model sees, where it is not x itself. */
  readonly #seen: Tensor | null;
  readonly #owned: Tensor[] = [];
  #program: Program | null = null;

  constructor(inputs: StepInputs, shape: readonly number[], sources: SampleSources) {
    const { device, guidance, plan } = inputs;
    this.#inputs = inputs;
    this.size = shape[0] as number;
    const seen = guidance === 1 ? this.size : 2 * this.size;
    const make = (shape: readonly number[], dtype: 'f32' | 'i32' = 'f32') => {
      const tensor = device.zeros(shape, { dtype });
      this.#owned.push(tensor);
      return tensor;
    };
    try {
      this.x = make(shape);
      this.predXStart = make(shape);
      this.#rows = make([seen], 'i32');
      this.#labels = sources.labels && make([seen], 'i32');
      this.#seen = plan.inputs || seen > this.size ? make([seen, ...shape.slice(1)]) : null;
      const rows = this.#rows.alias([this.size]);
      this.#owned.push(rows);
      this.#state = {
        x: this.x,
        predXStart: this.predXStart,
        rows,
        seed: make([4], 'i32'),
        noise: sources.noises || plan.churn ? make(shape) : null,
        given: sources.noises !== null,
        history: Array.from({ length: historyOf(plan) }, () => make(shape)),
      };
      if (seen > this.size) this.#labels?.write(new Int32Array(seen).fill(-1)); // those of samples are copied over the first half
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  /** x_T and labels of samples `offset` … of all; what lies beyond the last sample is padding. */
  begin(seed: SeedState, first: number, offset: number, { initial, labels }: SampleSources): void {
    const { device, plan } = this.#inputs;
    if (labels && this.#labels) {
      using own = this.#labels.alias([this.size]);
      copyRows(labels, offset, own, 0);
    }
    if (initial) {
      copyRows(initial, offset, this.x, 0);
      return;
    }
    this.#writeSeed(seed, 0, first + offset);
    device.native.randomNormal(this.x.handle, this.#state.seed.handle, 0, streams.initialSample, 0, 0);
    if (plan.initialScale !== 1) device.native.scale(this.x.handle, this.x.handle, plan.initialScale, 0);
    this.x.cell.version++;
  }

  /** Enqueues evaluation `k`; a promise where the model is an async function. */
  step(seed: SeedState, first: number, offset: number, k: number, noise: Tensor | null): PromiseLike<void> | undefined {
    this.#rows.write(new Int32Array(this.#rows.size).fill(k));
    this.#writeSeed(seed, k, first + offset);
    if (noise && this.#state.noise) copyRows(noise, offset, this.#state.noise, 0);
    this.x.cell.version++;
    const { device, model, denoisedFn } = this.#inputs;
    // What a function does beside its operations is not recorded.
    if (typeof model === 'function' || denoisedFn) return this.#enqueue();
    if (this.#program) {
      this.#program.run();
      return undefined;
    }
    model.refreshWeights?.();
    this.#program = device.record(() => device.scope(() => void this.#enqueue()));
    return undefined;
  }

  /** One model evaluation and the step after it, in place on x. */
  #enqueue(): PromiseLike<void> | undefined {
    const { device, model, timesteps, plan } = this.#inputs;
    const inputs = this.#inputs;
    const state = this.#state;
    if (inputs.plan.churn?.before === 'model') churn(inputs, state);
    if (this.#seen) this.#writeSeen(this.#seen);
    const finish = (output: Tensor) => {
      try {
        device.scope(() => advance(inputs, state, output));
      } finally {
        releaseOutput(output);
      }
    };
    const t = device.empty([this.#rows.size], timesteps.dtype);
    try {
      device.native.gather(timesteps.handle, this.#rows.handle, t.handle);
      const labels = this.#labels ? { labels: this.#labels } : {};
      const output = callModel('Sampler', model, this.#seen ?? this.x, t, { ...labels, variance: plan.modelVariance });
      if (isPromise(output)) return output.then(finish);
      finish(output);
      return undefined;
    } finally {
      t.dispose();
    }
  }

  /** x, scaled for the model; with guidance twice. */
  #writeSeen(seen: Tensor): void {
    const { device, inputTable } = this.#inputs;
    for (let half = 0; half * this.size < this.#rows.size; half++) {
      using part = seen.alias(this.x.shape, half * this.x.size);
      if (inputTable) device.native.blend(this.x.handle, 0, this.#state.rows.handle, inputTable.handle, part.handle);
      else device.native.cast(this.x.handle, part.handle);
    }
    seen.cell.version++;
  }

  #writeSeed([low, high, step, first]: SeedState, k: number, sample: number): void {
    this.#state.seed.write(Int32Array.of(low, high, step + k, first + sample));
  }

  dispose(): void {
    this.#program?.dispose();
    for (const tensor of this.#owned) tensor.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Tensors of earlier predictions: the newest itself where it is not x_0, and two older ones where steps use as many. */
function historyOf({ predictions, history }: SamplerPlan): number {
  return (predictions ? 1 : 0) + (history === 2 ? 2 : 0);
}

/** Copies samples `fromRow` … to `toRow` …, as many as both hold. */
export function copyRows(from: Tensor, fromRow: number, to: Tensor, toRow: number): void {
  const { device } = from;
  const [, ...sample] = from.shape;
  const rows = Math.min((from.shape[0] as number) - fromRow, (to.shape[0] as number) - toRow);
  const elements = sample.reduce((product, axis) => product * axis, 1);
  device.scope(() => {
    const source = from.alias([rows, ...sample], fromRow * elements);
    const target = to.alias([rows, ...sample], toRow * elements);
    device.native.cast(source.handle, target.handle);
  });
  to.cell.version++;
}
