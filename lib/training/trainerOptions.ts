import * as v from 'valibot';
import { ImageDataset } from '../data/dataset.js';
import { Device } from '../device.js';
import { GaussianDiffusion } from '../diffusion/gaussian.js';
import { diffusionSchema } from '../diffusion/gaussianOptions.js';
import { checkChannels } from '../diffusion/process.js';
import { DatasetError, DeviceMismatchError, DisposedError, OptionError, ShapeError } from '../errors.js';
import { UNet } from '../nn/unet.js';
import { boolean, instance, integer, number, oneOf, parseOptions, show, signal, string } from '../options.js';
import type { Tensor } from '../tensor.js';
import type { LearningRateSchedule } from './learningRate.js';

/** Options of `new Trainer`. */
export interface TrainerOptions {
  /** The network, whose weights change in place; as many channels out as in, or twice as many where the variance is learned. */
  model: UNet;
  /** Process and objective, on the model's device. */
  diffusion: GaussianDiffusion;
  /** Images of the model's size and channels, with labels where the model has classes. */
  data: ImageDataset;
  /** Images a step; 128. */
  batchSize?: number;
  /** Step size of AdamW after the warm-up; 2e-4. */
  learningRate?: number;
  /** Steps over which the learning rate rises; 0. */
  warmupSteps?: number;
  /** How the learning rate falls after the warm-up; 'constant'. */
  learningRateSchedule?: LearningRateSchedule;
  /**
   * Step at which 'linear' and 'cosine' reach 0. Left out, it is the end of the first run, and of every later one that goes beyond.
   */
  totalSteps?: number;
  /** Decay of the moving average of the weights; 0.9999. */
  emaDecay?: number;
  /** The decay after n updates is min(emaDecay, (1 + n)/(10 + n)); true. */
  emaWarmup?: boolean;
  /** Largest L2 norm of the gradient; 1. With 0 it is not limited. */
  gradientClip?: number;
  /** Decoupled weight decay of AdamW; 0. */
  weightDecay?: number;
  /** Images computed at once, to save memory; divides `batchSize`, which it is by default. */
  microBatch?: number;
  /** Mirror images left-right at random; false. */
  flip?: boolean;
  /** Probability that a sample's label becomes −1, no class, so that samples can be guided (`guidance`); 0. */
  labelDropout?: number;
  /** Of the order of the data, timesteps, noise, mirroring, dropout and dropped labels; 0. */
  seed?: number;
  /** Folder of the checkpoints; left out, none are written. */
  directory?: string;
  /** Steps between checkpoints; 1000. With 0 only `save` writes them. */
  checkpointEvery?: number;
  /** What a loss or gradient that is not finite does: end the run with a NonFiniteError, or just count; 'throw'. */
  onNonFinite?: 'throw' | 'skip';
}

/** Options of `Trainer.resume`: what checkpoints do not hold. */
export interface ResumeOptions {
  /** The device to train on. */
  device: Device;
  /** The same images in the same order as before. */
  data: ImageDataset;
  /** As in `GaussianDiffusionOptions`, for the trainer's `diffusion`; training itself does not call it. */
  denoisedFn?: (predXStart: Tensor) => Tensor;
}

const parts = {
  model: instance(UNet, 'a UNet'),
  diffusion: instance(GaussianDiffusion, 'a GaussianDiffusion'),
  data: v.custom<ImageDataset>((value) => value instanceof ImageDataset, 'an ImageDataset'),
};
const settings = {
  batchSize: v.optional(integer(1, 65536), 128),
  learningRate: v.optional(number(0), 2e-4),
  warmupSteps: v.optional(integer(0), 0),
  learningRateSchedule: v.optional(oneOf('constant', 'linear', 'cosine'), 'constant'),
  totalSteps: v.optional(integer(1)),
  emaDecay: v.optional(number(0, 1), 0.9999),
  emaWarmup: v.optional(boolean(), true),
  gradientClip: v.optional(number(0), 1),
  weightDecay: v.optional(number(0), 0),
  microBatch: v.optional(integer(1)),
  flip: v.optional(boolean(), false),
  labelDropout: v.optional(number(0, 1), 0),
  seed: v.optional(integer(0), 0),
  checkpointEvery: v.optional(integer(0), 1000),
  onNonFinite: v.optional(oneOf('throw', 'skip'), 'throw'),
};
const schema = v.strictObject({ ...parts, ...settings, directory: v.optional(string()) });
const runSchema = v.strictObject({ steps: integer(0), signal: v.optional(signal()) });
const resumeSchema = v.strictObject({
  device: instance(Device, 'a Device'),
  data: parts.data,
  denoisedFn: diffusionSchema.entries.denoisedFn,
});

/** Options with the defaults filled in. */
export type CheckedTrainerOptions = v.InferOutput<typeof schema> & { microBatch: number };

/** Throws OptionError, ShapeError, DatasetError, DeviceMismatchError or DisposedError for what cannot be trained. */
export function checkTrainerOptions(options: unknown): CheckedTrainerOptions {
  const owner = 'new Trainer';
  const checked = parseOptions(owner, schema, options);
  const { model, diffusion, data, batchSize, microBatch = batchSize } = checked;
  if (model.disposed) throw new DisposedError(`${owner}: the model has been disposed`);
  if (model.device.closed) throw new DisposedError(`${owner}: device '${model.device.info.id}' is closed`);
  if (diffusion.device !== model.device)
    throw new DeviceMismatchError(`${owner}: model and diffusion are on two devices, or on one that was opened twice`);
  if (batchSize % microBatch !== 0)
    throw new OptionError(`${owner}: option 'microBatch' must divide batchSize ${batchSize}, got ${show(microBatch)}`);
  if (checked.directory === '') throw new OptionError(`${owner}: option 'directory' must name a folder, got ''`);
  checkChannels(owner, model, diffusion.variance);
  if (data.channels !== model.inChannels)
    throw new ShapeError(`${owner}: the data have ${data.channels} channels, the model takes ${model.inChannels}`);
  const size = model.imageSize;
  if (size && (size[0] !== data.height || size[1] !== data.width))
    throw new ShapeError(`${owner}: the data are ${data.height}×${data.width}, the model is for ${size[0]}×${size[1]}`);
  if (model.config.classEmbedType === 'identity')
    throw new OptionError(`${owner}: the model's classEmbedType is 'identity', but the data cannot hold embeddings`);
  if (model.takesLabels && !data.labelled) {
    const what = model.numClasses > 0 ? `has ${model.numClasses} classes` : 'takes labels';
    throw new DatasetError(`${owner}: the model ${what}, but the data have no labels`);
  }
  if (checked.labelDropout > 0 && model.numClasses === 0)
    throw new OptionError(
      `${owner}: option 'labelDropout' must be 0 where the model has no classes, got ${checked.labelDropout}`,
    );
  if (model.numClasses > 0 && data.numClasses > model.numClasses)
    throw new DatasetError(`${owner}: the data have ${data.numClasses} classes, the model ${model.numClasses}`);
  return { ...checked, microBatch };
}

/** The settings that a checkpoint keeps. */
export function settingsOf(options: CheckedTrainerOptions): Record<string, unknown> {
  return Object.fromEntries(
    Object.keys(settings).flatMap((name) => {
      const value = options[name as keyof typeof settings];
      return value === undefined ? [] : [[name, value]];
    }),
  );
}

/** Options of `trainer.run`. Throws OptionError. */
export function checkRunOptions(options: unknown): v.InferOutput<typeof runSchema> {
  return parseOptions('trainer.run', runSchema, options);
}

/** Options of `Trainer.resume`. Throws OptionError. */
export function checkResumeOptions(options: unknown): ResumeOptions {
  return parseOptions('Trainer.resume', resumeSchema, options);
}
