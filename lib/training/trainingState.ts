import { join } from 'node:path';
import type { GaussianDiffusion } from '../diffusion/gaussian.js';
import { OptionError } from '../errors.js';
import type { UNet } from '../nn/unet.js';
import { AdamW } from './adamW.js';
import { Batches } from './batches.js';
import { corruptUnless, readCheckpoint, restoreRun, writeCheckpoint } from './checkpoint.js';
import { CheckpointFolder, descriptionFile } from './checkpointFolder.js';
import { LossSecondMomentSampler } from './lossSecondMoment.js';
import { TrainingStep } from './step.js';
import { type CheckedTrainerOptions, checkTrainerOptions, type ResumeOptions, type TrainerOptions } from './trainerOptions.js';

/** What a training run consists of between two steps, how it is written to a checkpoint and made of one. @internal */
export class TrainingState {
  readonly options: CheckedTrainerOptions;
  readonly optimizer: AdamW;
  /** What draws the timesteps, where they are not drawn uniformly. */
  readonly timesteps: LossSecondMomentSampler | null;
  readonly batches: Batches;
  readonly work: TrainingStep;
  folder: CheckpointFolder | null;
  /** Steps taken. */
  step = 0;
  /** Steps whose gradient was not finite. */
  skipped = 0;
  /** Where the learning rate reaches 0. */
  totalSteps: number;
  #ema: UNet | null = null;
  #ownsParts = false;

  /** Arguments and errors are those of `new Trainer`. A state is its own. */
  static of(given: TrainerOptions | TrainingState): TrainingState {
    return given instanceof TrainingState ? given : new TrainingState(given);
  }

  private constructor(given: TrainerOptions) {
    const checked = checkTrainerOptions(given);
    const { model, diffusion, data, batchSize, seed } = checked;
    const { weightDecay, gradientClip, emaDecay, emaWarmup } = checked;
    const labelled = model.takesLabels;
    this.options = checked;
    this.optimizer = new AdamW(model.parameters(), { weightDecay, gradientClip, emaDecay, emaWarmup });
    this.batches = new Batches(data, batchSize, { seed, labelled, numClasses: model.numClasses || undefined });
    this.timesteps = diffusion.timestepSampler === 'uniform' ? null : new LossSecondMomentSampler(diffusion);
    const { optimizer, timesteps } = this;
    this.work = new TrainingStep({ ...checked, optimizer, timesteps, imageShape: data.shape, labelled });
    this.folder = checked.directory === undefined ? null : new CheckpointFolder(checked.directory);
    this.totalSteps = checked.totalSteps ?? 0;
  }

  get model(): UNet {
    return this.options.model;
  }

  get diffusion(): GaussianDiffusion {
    return this.options.diffusion;
  }

  /** The network with the averaged weights, brought up to date by each access. */
  get ema(): UNet {
    this.#ema ??= this.model.device.unscoped(() => this.model.clone());
    this.#ema.store.copyFrom(this.optimizer.average);
    return this.#ema;
  }

  /** Writes a checkpoint; nothing may be enqueued meanwhile. @throws OptionError without a folder; FileFormatError. */
  async save(): Promise<string> {
    if (!this.folder) throw new OptionError("trainer.save: give the trainer option 'directory'");
    const { step, skipped, totalSteps, options, optimizer, timesteps, ema } = this;
    const run = { step, skipped, totalSteps, options, optimizer, timesteps, ema };
    return this.folder.write(step, (path, others) => writeCheckpoint(path, run, others));
  }

  /** The newest checkpoint of a run; arguments, checked, and errors are those of `Trainer.resume`. It owns model and process. */
  static async resumed(directory: string, given: ResumeOptions): Promise<TrainingState> {
    const folder = new CheckpointFolder(directory);
    await folder.mustExist();
    await folder.prepare();
    const name = await folder.newest();
    const saved = await readCheckpoint(join(directory, name), given);
    const { path, description, model, diffusion } = saved;
    const owned: { dispose(): void }[] = [model, diffusion];
    try {
      const state = corruptUnless(
        join(path, descriptionFile),
        () => new TrainingState({ ...description.options, model, diffusion, data: given.data, directory }),
      );
      owned.push(state);
      state.#ema = await restoreRun(saved, state.optimizer, state.timesteps);
      state.folder = new CheckpointFolder(directory, [...description.previous, name]);
      state.#ownsParts = true;
      state.step = description.step;
      state.skipped = description.skipped;
      state.totalSteps = description.totalSteps;
      return state;
    } catch (error) {
      for (const one of owned) one.dispose();
      throw error;
    }
  }

  /** Frees what it made, and after `resumed` model and process. */
  dispose(): void {
    void this.batches.close();
    this.work.dispose();
    this.optimizer.dispose();
    this.timesteps?.dispose();
    this.#ema?.dispose();
    if (this.#ownsParts) for (const part of [this.model, this.diffusion]) part.dispose();
  }
}
