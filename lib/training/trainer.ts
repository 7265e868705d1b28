import { join } from 'node:path';
import type { ImageDataset } from '../data/dataset.js';
import type { Device } from '../device.js';
import type { GaussianDiffusion } from '../diffusion/gaussian.js';
import { DisposedError, NonFiniteError, OptionError } from '../errors.js';
import type { UNet } from '../nn/unet.js';
import { show } from '../options.js';
import { AdamW } from './adamW.js';
import { Batches, type HostBatch } from './batches.js';
import { corruptUnless, readCheckpoint, restoreRun, writeCheckpoint } from './checkpoint.js';
import { CheckpointFolder, descriptionFile } from './checkpointFolder.js';
import { learningRateAt } from './learningRate.js';
import { LossSecondMomentSampler } from './lossSecondMoment.js';
import { TrainingStep } from './step.js';
import * as options from './trainerOptions.js';

/** What `trainer.run` tells of each step. */
export interface TrainingProgress {
  /** Steps taken since the beginning of training, this one included. */
  step: number;
  /** Mean over the batch. */
  loss: number;
  /** L2 norm of the gradient of all parameters before clipping. */
  gradientNorm: number;
  /** Images of this step by the time since the one before was done. */
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
  readonly #options: options.CheckedTrainerOptions;
  readonly #optimizer: AdamW;
  readonly #timesteps: LossSecondMomentSampler | null;
  readonly #batches: Batches;
  readonly #work: TrainingStep;
  #folder: CheckpointFolder | null;
  #ema: UNet | null = null;
  #ownsParts = false;
  #step = 0;
  #skipped = 0;
  #totalSteps: number;
  #running = false;
  #disposed = false;
  #saving: Promise<unknown> = Promise.resolve();
  #lastDone = 0;

  /**
   * @throws OptionError for an unknown or wrong option; ShapeError, DatasetError when model and data do not fit each other;
   * DeviceMismatchError, DisposedError, OutOfMemoryError.
   */
  constructor(given: options.TrainerOptions) {
    const checked = options.checkTrainerOptions(given);
    const { model, diffusion, data, batchSize, seed } = checked;
    const { weightDecay, gradientClip, emaDecay, emaWarmup } = checked;
    const labelled = model.takesLabels;
    this.#options = checked;
    this.model = model;
    this.diffusion = diffusion;
    this.#optimizer = new AdamW(model.parameters(), { weightDecay, gradientClip, emaDecay, emaWarmup });
    this.#batches = new Batches(data, batchSize, { seed, labelled, numClasses: model.numClasses || undefined });
    this.#timesteps = diffusion.timestepSampler === 'uniform' ? null : new LossSecondMomentSampler(diffusion);
    const [optimizer, timesteps] = [this.#optimizer, this.#timesteps];
    this.#work = new TrainingStep({ ...checked, optimizer, timesteps, imageShape: data.shape, labelled });
    this.#folder = checked.directory === undefined ? null : new CheckpointFolder(checked.directory);
    this.#totalSteps = checked.totalSteps ?? 0;
  }

  /** Steps taken; those in flight count. */
  get step(): number {
    return this.#step;
  }

  /** The folder of its checkpoints; null without option `directory`. */
  get directory(): string | null {
    return this.#folder?.path ?? null;
  }

  /** [height, width, channels] of the data. @internal */
  get imageShape(): [height: number, width: number, channels: number] {
    return this.#options.data.shape;
  }

  /** The learning rate that the update to `step` (1 the first) has in the run under way. */
  learningRateOf(step: number): number {
    return learningRateAt(step - 1, { ...this.#options, totalSteps: this.#totalSteps });
  }

  /** Steps that changed nothing because the loss or the gradient was not finite. */
  get skipped(): number {
    return this.#skipped;
  }

  /** The network with the averaged weights as they are now: always the same one, brought up to date by each access. */
  get ema(): UNet {
    this.#check('ema');
    this.#ema ??= this.model.device.unscoped(() => this.model.clone());
    this.#ema.store.copyFrom(this.#optimizer.average);
    return this.#ema;
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
    const { checkpointEvery, totalSteps } = this.#options;
    const end = this.#step + steps;
    if (totalSteps === undefined) this.#totalSteps = Math.max(this.#totalSteps, end);
    const inFlight: Promise<TrainingProgress>[] = [];
    try {
      await this.#folder?.prepare();
      while (this.#step < end || inFlight.length > 0) {
        signal?.throwIfAborted();
        if (this.#step === end || inFlight.length === stepsInFlight) {
          yield await (inFlight.shift() as Promise<TrainingProgress>);
          continue;
        }
        const batch = await this.#batches.of(this.#step, signal);
        await this.#savingDone();
        signal?.throwIfAborted();
        inFlight.push(this.#enqueue(batch));
        if (this.#folder && checkpointEvery > 0 && this.#step % checkpointEvery === 0) {
          await Promise.all(inFlight);
          await this.save();
        }
      }
    } finally {
      const finished = this.#step === end && !signal?.aborted; // the next run goes on reading then
      await Promise.allSettled([...inFlight, finished ? undefined : this.#batches.close()]);
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
    const { batchSize, onNonFinite } = this.#options;
    const began = performance.now();
    const running = this.#work.run(this.#step, batch, this.learningRateOf(this.#step + 1));
    const step = ++this.#step;
    const progress = running.then(({ loss, gradientNorm }) => {
      const done = performance.now();
      const seconds = (done - Math.max(began, this.#lastDone)) / 1000;
      this.#lastDone = done;
      const result = { step, loss, gradientNorm, imagesPerSecond: batchSize / seconds };
      this.observer?.(result);
      if (!Number.isFinite(loss) || !Number.isFinite(gradientNorm)) {
        this.#skipped++;
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
    const folder = this.#folder;
    if (!folder) throw new OptionError("trainer.save: give the trainer option 'directory'");
    const writing = this.#saving.then(() => {
      const [step, skipped, totalSteps] = [this.#step, this.#skipped, this.#totalSteps];
      const [optimizer, timesteps] = [this.#optimizer, this.#timesteps];
      const run = { step, skipped, totalSteps, options: this.#options, optimizer, timesteps, ema: this.ema };
      return folder.write(step, (path, others) => writeCheckpoint(path, run, others));
    });
    this.#saving = writing.catch(() => {});
    return writing;
  }

  /**
   * Goes on from the newest checkpoint of a run. On another kind of device, or with another number of threads, results differ in
   * rounding from those of an uninterrupted run; a process warning says so.
   * @param directory the run's own option `directory`
   * @throws FileFormatError naming the folder without a checkpoint, or the damaged file; DatasetError when the data are not those
   * of the run; OptionError, DTypeError, OutOfMemoryError.
   */
  static async resume(directory: string, given: { device: Device; data: ImageDataset }): Promise<Trainer> {
    const { device, data } = options.checkResumeOptions(given);
    if (typeof directory !== 'string')
      throw new OptionError(`Trainer.resume: directory must be a string, got ${show(directory)}`);
    const folder = new CheckpointFolder(directory);
    await folder.mustExist();
    await folder.prepare();
    const name = await folder.newest();
    const saved = await readCheckpoint(join(directory, name), device, data);
    const { path, description, model, diffusion } = saved;
    const owned: { dispose(): void }[] = [model, diffusion];
    try {
      const trainer = corruptUnless(
        join(path, descriptionFile),
        () => new Trainer({ ...description.options, model, diffusion, data, directory }),
      );
      owned.push(trainer);
      trainer.#ema = await restoreRun(saved, trainer.#optimizer, trainer.#timesteps);
      trainer.#folder = new CheckpointFolder(directory, [...description.previous, name]);
      trainer.#ownsParts = true;
      trainer.#step = description.step;
      trainer.#skipped = description.skipped;
      trainer.#totalSteps = description.totalSteps;
      return trainer;
    } catch (error) {
      for (const one of owned) one.dispose();
      throw error;
    }
  }

  /** Frees what the trainer made, among it `ema`; after `Trainer.resume` also `model` and `diffusion`. A second call does nothing. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    void this.#batches.close();
    this.#work.dispose();
    this.#optimizer.dispose();
    this.#timesteps?.dispose();
    this.#ema?.dispose();
    if (this.#ownsParts) for (const part of [this.model, this.diffusion]) part.dispose();
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
