import type { Device } from '../device.js';
import { enqueueReverseStep, type VarianceKind } from '../diffusion/kernels.js';
import { callModel, isPromise, type Model, releaseOutput } from '../diffusion/model.js';
import type { Variance } from '../diffusion/tables.js';
import type { Program } from '../program.js';
import { streams } from '../random.js';
import type { Tensor } from '../tensor.js';
import type { SeedState } from './seeds.js';

/** What a step of a sampler reads, besides the batch. */
export interface StepInputs {
  device: Device;
  model: Model;
  /** Rows of `reverseStep`, [S, 13]. */
  table: Tensor;
  /** What the model is given at each row, [S]. */
  timesteps: Tensor;
  /** Clip x_0 to [-clip, clip]; 0: not at all. */
  clip: number;
  /** Of the process: where it is learned the output has twice the channels. */
  variance: Variance;
  /** How the noise of a step is scaled. */
  varianceKind: VarianceKind;
}

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
  readonly #rows: Tensor;
  readonly #state: Tensor;
  readonly #labels: Tensor | null;
  readonly #noise: Tensor | null;
  #program: Program | null = null;

  constructor(inputs: StepInputs, shape: readonly number[], sources: SampleSources) {
    const { device } = inputs;
    this.#inputs = inputs;
    this.size = shape[0] as number;
    const owned: Tensor[] = [];
    const make = (shape: readonly number[], dtype?: 'i32') => {
      const tensor = device.zeros(shape, { dtype: dtype ?? 'f32' });
      owned.push(tensor);
      return tensor;
    };
    try {
      this.x = make(shape);
      this.predXStart = make(shape);
      this.#rows = make([this.size], 'i32');
      this.#state = make([4], 'i32');
      this.#labels = sources.labels && make([this.size], 'i32');
      this.#noise = sources.noises && make(shape);
    } catch (error) {
      for (const tensor of owned) tensor.dispose();
      throw error;
    }
  }

  /** x_T and labels of samples `offset` … of all; what lies beyond the last sample is padding. */
  begin(seed: SeedState, first: number, offset: number, { initial, labels }: SampleSources): void {
    if (labels && this.#labels) copyRows(labels, offset, this.#labels, 0);
    if (initial) copyRows(initial, offset, this.x, 0);
    else {
      this.#writeState(seed, 0, first + offset);
      this.#inputs.device.native.randomNormal(this.x.handle, this.#state.handle, 0, streams.initialSample, 0, 0);
      this.x.cell.version++;
    }
  }

  /** Enqueues evaluation `k`, with row `row`; a promise where the model is an async function. */
  step(
    seed: SeedState,
    first: number,
    offset: number,
    { k, row, noise }: { k: number; row: number; noise: Tensor | null },
  ): PromiseLike<void> | undefined {
    this.#rows.write(new Int32Array(this.size).fill(row));
    this.#writeState(seed, k, first + offset);
    if (noise && this.#noise) copyRows(noise, offset, this.#noise, 0);
    this.x.cell.version++;
    const { device, model } = this.#inputs;
    if (typeof model === 'function') return this.#enqueue();
    if (this.#program) {
      this.#program.run();
      return undefined;
    }
    model.refreshWeights?.();
    this.#program = device.record(() => device.scope(() => void this.#enqueue()));
    return undefined;
  }

  /** One model evaluation and the fused reverse step, in place on x. */
  #enqueue(): PromiseLike<void> | undefined {
    const { device, model, table, timesteps, clip, variance, varianceKind } = this.#inputs;
    const t = device.empty([this.size], timesteps.dtype);
    const advance = (output: Tensor) => {
      try {
        const rng = { fields: [this.#state.handle, 0, streams.samplerNoise, 0, 0] as const, advance() {} };
        const inputs = { output, xt: this.x, t: this.#rows, table, clip, variance: varianceKind, noise: this.#noise, rng };
        enqueueReverseStep(inputs, { sample: this.x, predXStart: this.predXStart });
      } finally {
        releaseOutput(output);
      }
    };
    try {
      device.native.gather(timesteps.handle, this.#rows.handle, t.handle);
      const output = callModel('Sampler', model, this.x, t, { variance, ...(this.#labels && { labels: this.#labels }) });
      if (isPromise(output)) return output.then(advance);
      advance(output);
      return undefined;
    } finally {
      t.dispose();
    }
  }

  #writeState([low, high, step, first]: SeedState, k: number, sample: number): void {
    this.#state.write(Int32Array.of(low, high, step + k, first + sample));
  }

  dispose(): void {
    this.#program?.dispose();
    for (const tensor of [this.x, this.predXStart, this.#rows, this.#state, this.#labels, this.#noise]) tensor?.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
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
