import { type Command, Option } from 'commander';
import type { ImageDataset } from '../data/dataset.js';
import type { GaussianDiffusion } from '../diffusion/gaussian.js';
import { type BitsEvaluation, evaluateBits } from '../evaluation/bitsPerDimension.js';
import { evaluateLoss, type LossEvaluation } from '../evaluation/lossByTimestep.js';
import type { UNet } from '../nn/unet.js';
import { openDevice } from '../openDevice.js';
import { type DataOptions, dataOptions, openData } from './data.js';
import { interruptible } from './interrupt.js';
import { openModel } from './model.js';
import { duration, type JsonTarget, say, writeResult } from './output.js';
import { Progress } from './progress.js';
import { measureSamples, type SampleQuality } from './sampleQuality.js';
import { choice, deviceOptions, integer, jsonOption } from './values.js';

/** What `evaluate` is given. */
export interface EvaluateArguments extends DataOptions {
  count: number;
  bits: number;
  samples: number;
  steps: number;
  method: 'ddpm' | 'ddim';
  seed: number;
  batchSize: number;
  dtype: 'f32' | 'bf16';
  device: string;
  threads?: number;
  json?: JsonTarget;
}

const evaluation = () => [
  new Option('--count <n>', 'images whose loss is measured, chosen by the seed').argParser(integer(1)).default(256),
  new Option('--bits <n>', 'images whose bits/dim are computed, by as many evaluations as the schedule has steps; 0: none')
    .argParser(integer(0))
    .default(8),
  new Option('--samples <n>', 'samples that are compared with images; 0: none').argParser(integer(0)).default(64),
  new Option('--steps <n>', 'model evaluations a sample, at most').argParser(integer(1)).default(50),
  choice('--method <name>', 'sampling method', 'ddpm', 'ddim').default('ddim'),
  new Option('--seed <n>', 'of the choice of images, noise and samples').argParser(integer(0)).default(0),
  new Option('--batch-size <n>', 'images computed together').argParser(integer(1)).default(64),
  choice('--dtype <type>', 'what the model computes in: bf16 where the device can', 'f32', 'bf16').default('f32'),
  ...deviceOptions(),
  jsonOption(),
];

/** `diffusion-native evaluate` */
export function addEvaluateCommand(program: Command): void {
  const command = program
    .command('evaluate')
    .description(
      'measure a trained model on images: its loss by timestep, its bits per dimension, and how far its samples are from the images',
    )
    .argument('<model>', "pipeline folder, or the output folder of 'train' or one of its checkpoints (averaged weights)");
  for (const option of dataOptions("the model's; IDX files: as stored", "the model's"))
    command.addOption(option.helpGroup('Data:'));
  for (const option of evaluation()) command.addOption(option);
  command.action((model: string, given: EvaluateArguments) => interruptible((signal) => evaluate(model, given, signal)));
}

async function evaluate(path: string, given: EvaluateArguments, signal: AbortSignal): Promise<void> {
  const { json, count, batchSize, seed } = given;
  const device = await openDevice(given.device, { threads: given.threads });
  const began = performance.now();
  try {
    const { model, diffusion } = await openModel(device, path, given.dtype);
    const data = await openData(given, signal, {
      command: 'evaluate',
      defaultSize: model.imageSize ? [...model.imageSize] : undefined,
      defaultChannels: ({ 1: '1', 3: '3', 4: '4' } as const)[model.inChannels],
    });
    const loss = await measureLoss({ model, diffusion, data, count, batchSize, seed, signal });
    const bits = await measureBits({ model, diffusion, data, count: given.bits, batchSize, seed, signal });
    const quality = await measureSamples({ model, diffusion, data, given, signal });
    const seconds = (performance.now() - began) / 1000;
    if (json !== true) for (const line of table(loss, bits, quality)) say(json, line);
    await writeResult(json, {
      model: path,
      images: loss.images,
      seed,
      prediction: diffusion.prediction,
      mse: loss.mse,
      standardError: loss.standardError,
      quartiles: loss.quartiles,
      bitsPerDimension: bits,
      sampleQuality: quality,
      seconds,
      device: device.info.id,
    });
    say(json, `${loss.images} images after ${duration(seconds)}`);
  } finally {
    await device.close();
  }
}

interface Measured {
  model: UNet;
  diffusion: GaussianDiffusion;
  data: ImageDataset;
  count: number;
  batchSize: number;
  seed: number;
  signal: AbortSignal;
}

const measureLoss = (options: Measured): Promise<LossEvaluation> =>
  withProgress('loss', (onProgress) => evaluateLoss({ ...options, onProgress }));

/** Bits per dimension; null where none are asked for. */
async function measureBits(options: Measured): Promise<BitsEvaluation | null> {
  return options.count === 0 ? null : withProgress('bits/dim', (onProgress) => evaluateBits({ ...options, onProgress }));
}

async function withProgress<T>(
  title: string,
  run: (onProgress: (done: number, total: number) => void) => Promise<T>,
): Promise<T> {
  let progress: Progress | undefined;
  try {
    return await run((done, total) => {
      progress ??= new Progress(title, total);
      progress.update(done);
    });
  } finally {
    progress?.stop();
  }
}

function* table(
  { mse, standardError, quartiles }: LossEvaluation,
  bits: BitsEvaluation | null,
  quality: SampleQuality | null,
): Generator<string> {
  const row = (range: string, error: { mse: number; standardError: number }) =>
    `${range.padEnd(12)} ${error.mse.toPrecision(5).padEnd(12)} ±${error.standardError.toPrecision(2)}`;
  yield `${'timesteps'.padEnd(12)} ${'MSE of ε'.padEnd(12)} standard error`;
  for (const part of quartiles) yield row(`${part.first}–${part.last}`, part);
  yield row('all', { mse, standardError });
  if (bits)
    yield `${'bits/dim'.padEnd(12)} ${bits.bitsPerDimension.toPrecision(5).padEnd(12)} ±${bits.standardError.toPrecision(2)}, of ${bits.images} images`;
  if (!quality) return;
  const { samples, directions, samplesToData, dataToData } = quality;
  yield `sliced Wasserstein distance of ${samples} images, ${directions} directions (values from -1 to 1):`;
  yield `${'samples'.padEnd(12)} ${samplesToData.toPrecision(4)} from the data`;
  yield `${'data'.padEnd(12)} ${dataToData === null ? 'too few' : dataToData.toPrecision(4)} from other data`;
}
