import type { GaussianDiffusion } from '../diffusion/gaussian.js';
import { DisposedError, NonFiniteError, OptionError } from '../errors.js';
import type { UNet } from '../nn/unet.js';
import { show } from '../options.js';
import type { HostBatch } from './batches.js';
import { learningRateAt } from './learningRate.js';
import * as options from './trainerOptions.js';
import { TrainingState } from './trainingState.js';

/** What `trainer.run` tells of each step. */
export interface TrainingProgress {
  /** Steps taken since the beginning of training, this one included. */
  step: number;
  /** Mean over the batch. */
  loss: number;
  /** L2 norm of the gradient of all parameters before clipping. */
  gradientNorm: number;
  /** Of this step and the one before: images by the time that they took. */
  imagesPerSecond: number;
}

const stepsInFlight = 2;

/**
 * Trains a UNet by Ho et al. 2020, algorithm 1, with AdamW and a moving average of the weights. The first step is recorded and
 * replayed by the others, so that JavaScript only hands over batches. All that is random follows from (seed, step, index in the
 * batch): a run that was saved and resumed goes on bit for bit as if it had never stopped, on the same kind of device with as
 * many threads.
 */
export class Trainer {
  /** The network in training. */
  readonly model: UNet;
  /** The process that noises its images. */
  readonly diffusion: GaussianDiffusion;
  /** Hears of every step that is done, in their order, also of those that an interrupted run does not yield. @internal */
  observer: ((progress: TrainingProgress) => void) | null = null;
  readonly #state: TrainingState;
  #running = false;
  #disposed = false;
  #saving: Promise<unknown> = Promise.resolve();
  #lastDone = 0;
  #lastSeconds: number | null = null;

  /**
   * @throws OptionError for an unknown or wrong option; ShapeError, DatasetError when model and data do not fit each other;
   * DeviceMismatchError, DisposedError, OutOfMemoryError.
   */
  constructor(given: options.TrainerOptions) {
    this.#state = TrainingState.of(given);
    this.model = this.#state.model;
    this.diffusion = this.#state.diffusion;
  }

  /** Steps taken; those in flight count. */
  get step(): number {
    return this.#state.step;
  }

  /** The folder of its checkpoints; null without option `directory`. */
  get directory(): string | null {
    return this.#state.folder?.path ?? null;
  }

  /** [height, width, channels] of the data. @internal */
  get imageShape(): [height: number, width: number, channels: number] {
    return this.#state.options.data.shape;
  }

  /** The learning rate that the update to `step` (1 the first) has in the run under way. */
  learningRateOf(step: number): number {
    return learningRateAt(step - 1, { ...this.#state.options, totalSteps: this.#state.totalSteps });
  }

  /** Steps that changed nothing because the loss or the gradient was not finite. */
  get skipped(): number {
    return this.#state.skipped;
  }

  /** The network with the averaged weights as they are now: always the same one, brought up to date by each access. */
  get ema(): UNet {
    this.#check('ema');
    return this.#state.ema;
  }

  /**
   * Takes so many steps more. At most two are in flight; leaving the loop waits for them. A checkpoint is written every
   * `checkpointEvery` steps.
   * @throws OptionError at once. The iteration throws NonFiniteError naming the step; FileFormatError when a checkpoint cannot be
   * written; DatasetError or FileFormatError for images that cannot be had; the signal's reason (an AbortError) between two steps.
   */
  run(given: { steps: number; signal?: AbortSignal }): AsyncGenerator<TrainingProgress, void, undefined> {
    this.#check('run');
    const { steps, signal } = options.checkRunOptions(given);
    return this.#run(steps, signal);
  }

  async *#run(steps: number, signal: AbortSignal | undefined): AsyncGenerator<TrainingProgress, void, undefined> {
    this.#check('run');
    if (this.#running) throw new OptionError('trainer.run: another run of this trainer is under way');
    this.#running = true;
    const state = this.#state;
    const { checkpointEvery, totalSteps } = state.options;
    const end = state.step + steps;
    if (totalSteps === undefined) state.totalSteps = Math.max(state.totalSteps, end);
    const inFlight: Promise<TrainingProgress>[] = [];
    try {
      await state.folder?.prepare();
      while (state.step < end || inFlight.length > 0) {
        signal?.throwIfAborted();
        if (state.step === end || inFlight.length === stepsInFlight) {
          yield await (inFlight.shift() as Promise<TrainingProgress>);
          continue;
        }
        const batch = await state.batches.of(state.step, signal);
        await this.#savingDone();
        signal?.throwIfAborted();
        inFlight.push(this.#enqueue(batch));
        if (state.folder && checkpointEvery > 0 && state.step % checkpointEvery === 0) {
          await Promise.all(inFlight);
          await this.save();
        }
      }
    } finally {
      const finished = state.step === end && !signal?.aborted; // the next run goes on reading then
      await Promise.allSettled([...inFlight, finished ? undefined : state.batches.close()]);
      this.#running = false;
    }
  }

  /** Nothing may be enqueued while a checkpoint reads the weights. */
  async #savingDone(): Promise<void> {
    for (let seen: Promise<unknown> | null = null; seen !== this.#saving; ) {
      seen = this.#saving;
      await seen;
    }
  }

  #enqueue(batch: HostBatch): Promise<TrainingProgress> {
    this.#check('run');
    const state = this.#state;
    const { batchSize, onNonFinite } = state.options;
    const began = performance.now();
    const running = state.work.run(state.step, batch, this.learningRateOf(state.step + 1));
    const step = ++state.step;
    const progress = running.then(({ loss, gradientNorm }) => {
      const done = performance.now();
      const seconds = (done - Math.max(began, this.#lastDone)) / 1000;
      // Two steps in flight may be heard of in one turn of the event loop: only together do they have a duration.
      const mean = (seconds + (this.#lastSeconds ?? seconds)) / 2;
      [this.#lastDone, this.#lastSeconds] = [done, seconds];
      const result = { step, loss, gradientNorm, imagesPerSecond: batchSize / mean };
      this.observer?.(result);
      if (!Number.isFinite(loss) || !Number.isFinite(gradientNorm)) {
        state.skipped++;
        if (onNonFinite === 'throw')
          throw new NonFiniteError(`step ${step}: the loss is ${loss} and the norm of its gradient ${gradientNorm}`);
      }
      return result;
    });
    progress.catch(() => {}); // reported in its turn
    return progress;
  }

  /**
   * Writes a checkpoint of the steps taken so far: weights (`unet`) and their average (`unet_ema`) as diffusers reads them, the
   * optimiser's moments, and `trainer.json`. The last two checkpoints stay. Steps wait meanwhile, the event loop does not.
   * @returns the checkpoint's folder
   * @throws OptionError without option `directory`; FileFormatError naming the file that cannot be written: earlier checkpoints
   * are whole then.
   */
  async save(): Promise<string> {
    this.#check('save');
    const writing = this.#saving.then(() => {
      this.#check('save');
      return this.#state.save();
    });
    this.#saving = writing.catch(() => {});
    return writing;
  }

  /**
   * Goes on from the newest checkpoint of a run. On another kind of device, or with another number of threads, results differ in
   * rounding from those of an uninterrupted run; a process warning says so.
   * @param directory the run's own option `directory`
   * @param given the device, the data of the run, and `denoisedFn` where its process has one
   * @throws FileFormatError naming the folder without a checkpoint, or the damaged file; DatasetError when the data are not those
   * of the run; OptionError, DTypeError, OutOfMemoryError.
   */
  static async resume(directory: string, given: options.ResumeOptions): Promise<Trainer> {
    const checked = options.checkResumeOptions(given);
    if (typeof directory !== 'string')
      throw new OptionError(`Trainer.resume: directory must be a string, got ${show(directory)}`);
    return new Trainer((await TrainingState.resumed(directory, checked)) as unknown as options.TrainerOptions);
  }

  /** Frees what the trainer made, among it `ema`; after `Trainer.resume` also `model` and `diffusion`. A second call does nothing. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#state.dispose();
  }

  /** For `using`: the same as `dispose`. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  #check(operation: string): void {
    if (this.#disposed) throw new DisposedError(`trainer.${operation} after dispose()`);
    if (this.model.disposed) throw new DisposedError(`trainer.${operation}: the model has been disposed`);
    if (this.model.device.closed)
      throw new DisposedError(`trainer.${operation}: device '${this.model.device.info.id}' is closed`);
  }
}
