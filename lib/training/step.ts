import { backward } from '../autograd/backward.js';
import type { Device } from '../device.js';
import type { GaussianDiffusion } from '../diffusion/gaussian.js';
import type { UNet } from '../nn/unet.js';
import { mul, scale } from '../ops/elementwise.js';
import { mean } from '../ops/reduce.js';
import type { Program } from '../program.js';
import { streams } from '../random.js';
import type { Tensor } from '../tensor.js';
import type { AdamW } from './adamW.js';
import type { HostBatch } from './batches.js';
import { dropLabels } from './labelDropout.js';
import type { LossSecondMomentSampler } from './lossSecondMoment.js';

/** What a training step works with. */
export interface StepParts {
  model: UNet;
  diffusion: GaussianDiffusion;
  optimizer: AdamW;
  /** Draws the timesteps, where they are not drawn uniformly. */
  timesteps: LossSecondMomentSampler | null;
  /** [H, W, C] of the images. */
  imageShape: readonly [height: number, width: number, channels: number];
  labelled: boolean;
  batchSize: number;
  /** Samples that are computed at once; divides `batchSize`. */
  microBatch: number;
  flip: boolean;
  /** Probability that a label becomes −1. */
  labelDropout: number;
  seed: number;
}

/** What a step gives. */
export interface StepResult {
  /** Mean over the batch. */
  loss: number;
  /** L2 norm of the gradient before clipping. */
  gradientNorm: number;
}

/**
 * One training step as recorded programs: draw t, noise the images, run the model forwards and backwards, sum the gradient over
 * the micro-batches; then clip, AdamW and the average. The first step records, later ones replay: all that differs between them is
 * in small tensors written before each run, namely the images, the seed state and the optimiser's numbers. Draws are a function
 * of (seed, step, index in the batch), so that micro-batches of any size see the same noise; timesteps by the second moment of the
 * loss depend on what micro-batches before have shown.
 */
export class TrainingStep {
  readonly #parts: StepParts;
  readonly #device: Device;
  /** u8 [microBatch, H, W, C] */
  readonly #images: Tensor;
  /** i32 [microBatch] */
  readonly #labels: Tensor | null;
  /** i32 [4]: seed (low, high), step, first sample. */
  readonly #state: Tensor;
  /** [1]: the loss summed over the micro-batches so far. */
  readonly #loss: Tensor;
  readonly #programs = new Map<string, Program>();

  constructor(parts: StepParts) {
    const { imageShape, labelled, microBatch, model } = parts;
    const { device } = model;
    this.#parts = parts;
    this.#device = device;
    [this.#images, this.#state, this.#loss] = device.unscoped(() => [
      device.empty([microBatch, ...imageShape], 'u8'),
      device.empty([4], 'i32'),
      device.empty([1], 'f32'),
    ]);
    this.#labels = labelled ? device.unscoped(() => device.empty([microBatch], 'i32')) : null;
  }

  /** Enqueues the update after `step` others; resolves when it has run. */
  run(step: number, batch: HostBatch, learningRate: number): Promise<StepResult> {
    const { model, optimizer, batchSize, microBatch, imageShape, seed, labelDropout: probability } = this.#parts;
    const imageBytes = imageShape[0] * imageShape[1] * imageShape[2];
    model.refreshWeights();
    optimizer.updates = step;
    optimizer.prepare({ learningRate });
    const whole = microBatch === batchSize;
    for (let first = 0; first < batchSize; first += microBatch) {
      const end = first + microBatch;
      this.#state.write(Int32Array.of(seed, Math.floor(seed / 2 ** 32), step, first));
      this.#images.write(batch.images.subarray(first * imageBytes, end * imageBytes));
      if (batch.labels) {
        const labels = batch.labels.subarray(first, end);
        this.#labels?.write(dropLabels(labels, { probability, seed, step, first }));
      }
      if (whole) {
        this.#play('step', () => {
          this.#accumulate(true);
          optimizer.enqueue();
        });
      } else this.#play(first === 0 ? 'first' : 'next', () => this.#accumulate(first === 0));
    }
    if (!whole) this.#play('update', () => optimizer.enqueue());
    return this.#result();
  }

  async #result(): Promise<StepResult> {
    const [loss, gradientNorm] = await Promise.all([this.#loss.read(), this.#parts.optimizer.gradientNorm.read()]);
    return { loss: loss[0] as number, gradientNorm: gradientNorm[0] as number };
  }

  #play(name: string, body: () => void): void {
    const program = this.#programs.get(name);
    if (program) program.run();
    else this.#programs.set(name, this.#device.record(body));
  }

  /** Adds the gradient and the loss of one micro-batch to those before it. */
  #accumulate(isFirst: boolean): void {
    const { model, diffusion, optimizer, timesteps, batchSize, microBatch, flip } = this.#parts;
    const { native } = this.#device;
    if (isFirst) optimizer.zeroGrad();
    this.#device.scope(() => {
      const { t, weights } = this.#drawTimesteps();
      const labels = this.#labels ? { labels: this.#labels } : {};
      const losses = diffusion.trainingLosses(model, this.#images, t, { ...labels, seed: this.#state, flip });
      timesteps?.record(t, losses.loss);
      const weighted = weights ? mul(losses.loss, weights) : losses.loss;
      const loss = scale(mean(weighted), microBatch / batchSize);
      if (isFirst) native.cast(loss.handle, this.#loss.handle);
      else native.add(this.#loss.handle, loss.handle, this.#loss.handle);
      backward(loss);
    });
  }

  #drawTimesteps(): { t: Tensor; weights: Tensor | null } {
    const { diffusion, timesteps, microBatch } = this.#parts;
    if (timesteps) return timesteps.draw(microBatch, { seed: this.#state });
    const t = this.#device.empty([microBatch], 'i32');
    const { length } = diffusion.schedule;
    this.#device.native.randomIntegers(t.handle, 0, length, this.#state.handle, 0, streams.timesteps, 0, 0);
    return { t, weights: null };
  }

  dispose(): void {
    for (const program of this.#programs.values()) program.dispose();
    for (const tensor of [this.#images, this.#labels, this.#state, this.#loss]) tensor?.dispose();
  }
}
