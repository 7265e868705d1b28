import { access } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import type { ImageDataset } from '../data/dataset.js';
import type { Device } from '../device.js';
import { GaussianDiffusion } from '../diffusion/gaussian.js';
import { NoiseSchedule } from '../diffusion/schedule.js';
import { isLearned } from '../diffusion/tables.js';
import { DatasetError, OptionError } from '../errors.js';
import { savePipeline } from '../files/pipeline.js';
import { UNet } from '../nn/unet.js';
import { openDevice } from '../openDevice.js';
import { metricsFile } from '../recording/metrics.js';
import { type RecordedStep, recordRun } from '../recording/record.js';
import { Trainer } from '../training/trainer.js';
import { openData } from './data.js';
import { interruptible } from './interrupt.js';
import { duration, say, writeResult } from './output.js';
import { Progress } from './progress.js';
import { addTrainOptions, settledFlags, type TrainArguments } from './trainOptions.js';

/** `diffusion-native train` */
export function addTrainCommand(program: Command): void {
  const command = program.command('train').description('train a model on images; Ctrl-C saves a checkpoint and leaves');
  addTrainOptions(command).action(async (given: TrainArguments) => {
    const settled = given.resume ? settledFlags(command) : [];
    if (settled.length > 0)
      throw new OptionError(`train: with --resume the run keeps its own settings: leave out ${settled.join(', ')}`);
    await interruptible((signal) => train(given, signal));
  });
}

async function train(given: TrainArguments, signal: AbortSignal): Promise<void> {
  const { output, json } = given;
  if (!given.resume && (await exists(join(output, 'latest'))))
    throw new OptionError(`train: '${output}' holds a run already: add --resume to go on with it, or choose another --output`);
  const data = await openData(given, signal, { command: 'train' });
  const device = await openDevice(given.device, { threads: given.threads });
  try {
    const trainer = given.resume ? await Trainer.resume(output, { device, data }) : newTrainer(device, data, given);
    const began = performance.now();
    say(json, `${data.length} images ${data.shape.join('×')}, ${parameterCount(trainer.model)} parameters, on ${device.info.id}`);
    const first = trainer.step;
    const { last, interrupted } = await takeSteps(trainer, given, signal);
    const seconds = (performance.now() - began) / 1000;
    const checkpoint = trainer.step > first || given.resume ? await trainer.save() : null;
    const pipeline = interrupted === null ? join(output, 'pipeline') : null;
    if (pipeline) await savePipeline(pipeline, { model: trainer.ema, diffusion: trainer.diffusion });
    await writeResult(json, {
      step: trainer.step,
      loss: last?.loss ?? null,
      gradientNorm: last?.gradientNorm ?? null,
      imagesPerSecond: last?.imagesPerSecond ?? null,
      skipped: trainer.skipped,
      seconds,
      interrupted: interrupted !== null,
      metrics: join(output, metricsFile),
      checkpoint,
      pipeline,
      device: device.info.id,
    });
    if (checkpoint) say(json, `step ${trainer.step} after ${duration(seconds)}; checkpoint: ${checkpoint}`);
    if (pipeline) say(json, `model (averaged weights): ${pipeline}`);
    if (interrupted && !checkpoint) throw interrupted; // before the first step: nothing to go on from
    if (interrupted) console.error('interrupted');
  } finally {
    await device.close();
  }
}

/** Runs the steps and shows them; an abort is handed back, so that the run can be saved. */
async function takeSteps(trainer: Trainer, { steps, preview }: TrainArguments, signal: AbortSignal) {
  using progress = new Progress('train', trainer.step + steps, trainer.step);
  let last: RecordedStep | undefined;
  try {
    for await (const step of recordRun(trainer, { steps, signal, preview: preview === true ? {} : preview })) {
      last = step;
      progress.update(step.step, `loss ${step.loss.toFixed(4)}`, `${step.imagesPerSecond.toFixed(0)} images/s`);
    }
    return { last, interrupted: null };
  } catch (error) {
    if (!signal.aborted) throw error;
    return { last, interrupted: error as Error };
  }
}

function newTrainer(device: Device, data: ImageDataset, given: TrainArguments): Trainer {
  const { baseChannels, channelMults, resBlocks, heads, dropout, timeEmbedding, groups, dtype, seed } = given;
  const { schedule, timesteps, prediction, variance, loss, lossWeighting } = given;
  const { minSnrGamma, timestepSampler, rescaleTimesteps } = given;
  const process = { prediction, variance, loss, lossWeighting, minSnrGamma, timestepSampler, rescaleTimesteps };
  if (given.classes && !data.labels) throw new DatasetError('train: --classes needs data with classes');
  const model = new UNet(device, {
    imageSize: [data.height, data.width],
    inChannels: data.channels,
    outChannels: variance && isLearned(variance) ? 2 * data.channels : data.channels,
    baseChannels,
    channelMults,
    resBlocks,
    attentionResolutions: given.attention,
    heads,
    dropout,
    timeEmbedding,
    groups,
    resample: given.resample,
    gradientCheckpointing: given.gradientCheckpointing,
    dtype,
    seed,
    numClasses: given.classes ? data.numClasses : 0,
  });
  return new Trainer({
    model,
    data,
    diffusion: new GaussianDiffusion(device, NoiseSchedule[schedule]({ timesteps }), process),
    batchSize: given.batchSize,
    microBatch: given.microBatch,
    learningRate: given.learningRate,
    learningRateSchedule: given.learningRateSchedule,
    warmupSteps: given.warmupSteps,
    weightDecay: given.weightDecay,
    gradientClip: given.gradientClip,
    emaDecay: given.emaDecay,
    flip: given.flip,
    labelDropout: given.labelDropout,
    seed,
    checkpointEvery: given.checkpointEvery,
    onNonFinite: given.onNonFinite,
    directory: given.output,
  });
}

function parameterCount(model: UNet): string {
  let count = 0;
  for (const { shape } of model.parameters().values()) count += shape.reduce((product, axis) => product * axis, 1);
  return count.toLocaleString('en');
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
