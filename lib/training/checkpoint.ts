import { join } from 'node:path';
import * as v from 'valibot';
import type { Device } from '../device.js';
import { GaussianDiffusion } from '../diffusion/gaussian.js';
import { settingsOfProcess } from '../diffusion/gaussianOptions.js';
import { NoiseSchedule } from '../diffusion/schedule.js';
import { DatasetError, FileFormatError, OptionError } from '../errors.js';
import { readJson, writeJson } from '../files/json.js';
import { UNet } from '../nn/unet.js';
import { boolean, integer, oneOf, parseOptions, string } from '../options.js';
import type { AdamW } from './adamW.js';
import { checkpointName, descriptionFile } from './checkpointFolder.js';
import { readLossHistory, writeLossHistory } from './lossHistoryFile.js';
import type { LossSecondMomentSampler } from './lossSecondMoment.js';
import { readMoments, writeMoments } from './moments.js';
import { type CheckedTrainerOptions, type ResumeOptions, settingsOf } from './trainerOptions.js';

const record = () => v.record(v.string(), v.unknown(), 'an object');
const schema = v.object({
  format: v.literal(1, '1'),
  packageVersion: string(),
  /** Steps taken. */
  step: integer(0),
  /** Steps whose gradient was not finite. */
  skipped: integer(0),
  /** Where the learning rate reaches 0. */
  totalSteps: integer(0),
  /** Checkpoints of the run that were there when this one was written, oldest first: it removes them in their turn. */
  previous: v.optional(v.array(v.pipe(string(), v.regex(checkpointName, "'checkpoint-<step>'"))), []),
  /** Of the trainer: all that JSON can hold. */
  options: record(),
  /** How the network computes. */
  model: v.object({ dtype: oneOf('f32', 'bf16'), gradientCheckpointing: v.optional(boolean(), false) }),
  /** `NoiseSchedule.toJSON()`, the options of the diffusion process, and whether it had a `denoisedFn` besides. */
  diffusion: v.object({ schedule: record(), options: record(), denoisedFn: v.optional(boolean(), false) }),
  data: v.object({ fingerprint: string(), length: v.nullable(integer(1)), shape: v.array(integer(1)), position: integer(0) }),
  /** The same bits come from the same kind of device with the same threads and instructions. */
  device: v.object({ kind: string(), threads: integer(0), isa: v.string() }),
});

/** What `trainer.json` holds. */
export type CheckpointDescription = v.InferOutput<typeof schema>;

/** All that a run consists of. */
export interface Run {
  step: number;
  skipped: number;
  totalSteps: number;
  options: CheckedTrainerOptions;
  optimizer: AdamW;
  /** What draws the timesteps, where they are not drawn uniformly. */
  timesteps: LossSecondMomentSampler | null;
  /** The network with the averaged weights. */
  ema: UNet;
}

/**
 * Writes weights (`unet`), averages (`unet_ema`), moments, losses by timestep and, last, `trainer.json` into a folder; `previous` are the names of the
 * run's other checkpoints. Throws FileFormatError.
 */
export async function writeCheckpoint(
  folder: string,
  { step, skipped, totalSteps, options, optimizer, timesteps, ema }: Run,
  previous: readonly string[],
): Promise<void> {
  const { model, diffusion, data, batchSize } = options;
  await model.save(join(folder, 'unet'));
  await ema.save(join(folder, 'unet_ema'));
  await writeMoments(folder, optimizer);
  if (timesteps) await writeLossHistory(folder, timesteps);
  const manifest = (await readJson(join(__dirname, '..', '..', 'package.json'))) as { version: string };
  const description: CheckpointDescription = {
    format: 1,
    packageVersion: manifest.version,
    step,
    skipped,
    totalSteps,
    previous: [...previous],
    options: settingsOf(options),
    model: { dtype: model.dtype, gradientCheckpointing: model.config.gradientCheckpointing ?? false },
    diffusion: {
      schedule: { ...diffusion.schedule.toJSON() },
      options: settingsOfProcess(diffusion),
      denoisedFn: diffusion.denoisedFn !== undefined,
    },
    data: {
      fingerprint: await data.fingerprint(),
      length: Number.isFinite(data.length) ? data.length : null,
      shape: data.shape,
      position: step * batchSize,
    },
    device: kindOf(model.device),
  };
  await writeJson(join(folder, descriptionFile), description);
}

/** What `readCheckpoint` gives: the parts of a trainer, and what else `restoreRun` needs. */
export interface SavedRun {
  path: string;
  description: CheckpointDescription;
  model: UNet;
  diffusion: GaussianDiffusion;
}

/** Reads `trainer.json` of a checkpoint. Throws FileFormatError naming the file and the entry at fault. */
export async function readDescription(path: string): Promise<CheckpointDescription> {
  const file = join(path, descriptionFile);
  const json = await readJson(file);
  return corruptUnless(file, () => parseOptions('checkpoint', schema, json));
}

/**
 * Reads the description of a checkpoint, and makes model and process of it.
 * @throws FileFormatError naming the file; DatasetError when the data are not those of the run.
 */
export async function readCheckpoint(path: string, { device, data, denoisedFn }: ResumeOptions): Promise<SavedRun> {
  const description = await readDescription(path);
  const { data: then } = description;
  if (then.fingerprint !== (await data.fingerprint()))
    throw new DatasetError(
      `Trainer.resume: the data are not those of '${path}': ${data.length} images ${data.shape.join('×')} now, ` +
        `${then.length ?? Infinity} images ${then.shape.join('×')} then, or other values or labels`,
    );
  const diffusion = corruptUnless(join(path, descriptionFile), () => {
    const schedule = NoiseSchedule.fromJSON(description.diffusion.schedule);
    return new GaussianDiffusion(device, schedule, { ...description.diffusion.options, ...(denoisedFn && { denoisedFn }) });
  });
  try {
    return { path, description, diffusion, model: await UNet.load(device, join(path, 'unet'), description.model) };
  } catch (error) {
    diffusion.dispose();
    throw error;
  }
}

/**
 * Fills the optimiser's moments and averages, and what the sampler of timesteps remembers. Warns when the run was on another kind of
 * device, and when its process had a `denoisedFn` that this one lacks.
 * @returns the network with the averaged weights
 * @throws FileFormatError naming the file at fault.
 */
export async function restoreRun(
  { path, description, model, diffusion }: SavedRun,
  optimizer: AdamW,
  timesteps: LossSecondMomentSampler | null,
): Promise<UNet> {
  await readMoments(path, optimizer);
  if (timesteps) await readLossHistory(path, timesteps);
  const ema = await UNet.load(model.device, join(path, 'unet_ema'), description.model);
  model.device.native.cast(ema.store.flatValues.handle, optimizer.average.handle);
  const [then, now] = [description.device, kindOf(model.device)].map((one) => `${one.kind}, ${one.threads} threads, ${one.isa}`);
  if (then !== now)
    process.emitWarning(`the run of '${path}' was on ${then}; on ${now} it goes on with other rounding`, 'ResumeWarning');
  if (description.diffusion.denoisedFn && !diffusion.denoisedFn)
    process.emitWarning(
      `the process of '${path}' had a denoisedFn, which checkpoints do not hold: give it to Trainer.resume for samples as before`,
      'ResumeWarning',
    );
  return ema;
}

/** What a checkpoint says must suit those who read it: an OptionError becomes a FileFormatError that names the file. */
export function corruptUnless<T>(path: string, body: () => T): T {
  try {
    return body();
  } catch (error) {
    if (!(error instanceof OptionError)) throw error;
    throw new FileFormatError(`'${path}' does not describe a training run: ${error.message}`, { cause: error });
  }
}

/** What decides whether a device gives the same bits. */
function kindOf({ info }: Device): CheckpointDescription['device'] {
  return { kind: info.id.split(':')[0] as string, threads: info.threads ?? 0, isa: info.isa ?? info.computeCapability ?? '' };
}
