import * as v from 'valibot';
import { ImageDataset } from '../data/dataset.js';
import { GaussianDiffusion } from '../diffusion/gaussian.js';
import { checkChannels } from '../diffusion/process.js';
import { DatasetError, DeviceMismatchError, ShapeError } from '../errors.js';
import { UNet } from '../nn/unet.js';
import { instance, integer, parseOptions, signal } from '../options.js';
import { Batches, type HostBatch } from '../training/batches.js';

/** Options of every evaluation of a model on images. */
export interface EvaluationOptions {
  /** The network, usually with the averaged weights: `trainer.ema`. */
  model: UNet;
  /** Its process, on the model's device. */
  diffusion: GaussianDiffusion;
  /** Images of the model's size and channels, with labels where the model has classes. */
  data: ImageDataset;
  /** How many images, drawn by `seed` without repetition; all if there are fewer. */
  count?: number;
  /** Images that go through the model together; 64. The result depends on it by rounding only. */
  batchSize?: number;
  /** Of the choice of images and of the noise; 0. */
  seed?: number;
  /** Aborts between two evaluations of the model. */
  signal?: AbortSignal;
  /** Hears of each evaluation of the model. */
  onProgress?: (done: number, total: number) => void;
}

const schema = (count: number) =>
  v.strictObject({
    model: instance(UNet, 'a UNet'),
    diffusion: instance(GaussianDiffusion, 'a GaussianDiffusion'),
    data: v.custom<ImageDataset>((value) => value instanceof ImageDataset, 'an ImageDataset'),
    count: v.optional(integer(1), count),
    batchSize: v.optional(integer(1, 65536), 64),
    seed: v.optional(integer(0), 0),
    signal: v.optional(signal()),
    onProgress: v.optional(v.function('a function')),
  });

/** Options of an evaluation, checked. @internal */
export type CheckedEvaluation = v.InferOutput<ReturnType<typeof schema>>;

/**
 * Options with their defaults, `count` and `batchSize` not above the number of images.
 * @throws OptionError, ShapeError, DatasetError, DeviceMismatchError. @internal
 */
export function checkEvaluation(owner: string, given: EvaluationOptions, defaultCount: number): CheckedEvaluation {
  const options = parseOptions(owner, schema(defaultCount), given);
  checkData(owner, options);
  const count = Math.min(options.count, options.data.length);
  return { ...options, count, batchSize: Math.min(options.batchSize, count) };
}

/** Images of an evaluation in host memory, [size, H, W, C], with their labels where the model has classes. @internal */
export interface EvaluationBatch extends HostBatch {
  /** Number of the first image within the evaluation. */
  first: number;
  size: number;
}

/** The chosen images, batch after batch; each is gone when the one after the next comes. @internal */
export async function* batchesOf(options: CheckedEvaluation): AsyncGenerator<EvaluationBatch> {
  const { model, data, count, batchSize, seed, signal } = options;
  const { numClasses } = model;
  const imageBytes = data.height * data.width * data.channels;
  const batches = new Batches(data, batchSize, { seed, labelled: numClasses > 0, numClasses });
  try {
    for (let first = 0; first < count; first += batchSize) {
      const { images, labels } = await batches.of(first / batchSize, signal);
      const size = Math.min(batchSize, count - first);
      yield { first, size, images: images.subarray(0, size * imageBytes), labels: labels?.subarray(0, size) ?? null };
    }
  } finally {
    await batches.close();
  }
}

/** The mean of some values, and its standard error. @internal */
export function meanOf(values: Float64Array): { mean: number; standardError: number } {
  const count = values.length;
  const mean = values.reduce((sum, value) => sum + value, 0) / count;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, standardError: count > 1 ? Math.sqrt(squares / (count - 1) / count) : 0 };
}

function checkData(owner: string, { model, diffusion, data }: CheckedEvaluation): void {
  if (diffusion.device !== model.device) throw new DeviceMismatchError(`${owner}: model and diffusion are on two devices`);
  if (data.channels !== model.inChannels)
    throw new ShapeError(`${owner}: the data have ${data.channels} channels, the model takes ${model.inChannels}`);
  checkChannels(owner, model, diffusion.variance);
  const size = model.imageSize;
  if (size && (size[0] !== data.height || size[1] !== data.width))
    throw new ShapeError(`${owner}: the data are ${data.height}×${data.width}, the model is for ${size[0]}×${size[1]}`);
  if (model.numClasses > 0 && !data.labelled)
    throw new DatasetError(`${owner}: the model has ${model.numClasses} classes, but the data have no labels`);
}
