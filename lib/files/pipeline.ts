import { join } from 'node:path';
import * as v from 'valibot';
import type { Device } from '../device.js';
import { GaussianDiffusion } from '../diffusion/gaussian.js';
import { diffusionSchema } from '../diffusion/gaussianOptions.js';
import { NoiseSchedule } from '../diffusion/schedule.js';
import { FileFormatError, OptionError } from '../errors.js';
import { UNet } from '../nn/unet.js';
import type { UNetLoadOptions } from '../nn/unetArguments.js';
import { checkDevice } from '../nn/unetOptions.js';
import { checkPath, oneOf, parseOptions, show, string } from '../options.js';
import type { Tensor } from '../tensor.js';
import { componentFolder, diffusersVersion, makeFolder } from './diffusers.js';
import { readJson, writeJson } from './json.js';
import { processOf, type SchedulerProcess, schedulerConfigOf } from './schedulerConfig.js';

/** What a pipeline folder holds. */
export interface SavePipelineOptions {
  /** With the averaged weights, usually: `trainer.ema`. */
  model: UNet;
  /** The training schedule; `diffusion.schedule` when left out. */
  schedule?: NoiseSchedule;
  /** What the model predicts: 'epsilon' unless `diffusion` says otherwise. */
  prediction?: SchedulerProcess['prediction'];
  /** Variance of a reverse step: 'fixedSmall' unless `diffusion` says otherwise. */
  variance?: SchedulerProcess['variance'];
  /** Whether predictions of x_0 are clipped to [-1, 1]: true unless `diffusion` says otherwise. */
  clipDenoised?: boolean;
  /** A process whose schedule and options are those left out above. */
  diffusion?: GaussianDiffusion;
}

/** What `loadPipeline` reads. */
export interface Pipeline {
  /** The network. */
  model: UNet;
  /** The training schedule. */
  schedule: NoiseSchedule;
  /** The process over that schedule with the scheduler's prediction, variance and clipping or dynamic threshold. */
  diffusion: GaussianDiffusion;
  /** scheduler_config.json as it is. */
  schedulerConfig: Readonly<Record<string, unknown>>;
}

/** Options of `loadPipeline`: those of `UNet.load`, and what a folder cannot hold. */
export interface LoadPipelineOptions extends Pick<UNetLoadOptions, 'dtype' | 'variant'> {
  /** As in `GaussianDiffusionOptions`, for the process. */
  denoisedFn?: (predXStart: Tensor) => Tensor;
}

const { prediction, variance, clipDenoised, denoisedFn } = diffusionSchema.entries;
const schema = v.strictObject({
  model: v.custom<UNet>((value) => value instanceof UNet, 'a UNet'),
  schedule: v.optional(v.custom<NoiseSchedule>((value) => value instanceof NoiseSchedule, 'a NoiseSchedule')),
  diffusion: v.optional(v.custom<GaussianDiffusion>((value) => value instanceof GaussianDiffusion, 'a GaussianDiffusion')),
  prediction: v.optional(prediction.wrapped),
  variance: v.optional(variance.wrapped),
  clipDenoised: v.optional(clipDenoised.wrapped),
});
const loadSchema = v.strictObject({ dtype: v.optional(oneOf('f32', 'bf16')), variant: v.optional(string()), denoisedFn });

/**
 * Writes what `DDPMPipeline.from_pretrained` of diffusers reads: model_index.json, unet/ and scheduler/scheduler_config.json.
 * Leave the weights unchanged until the promise settles. A process's `denoisedFn` is not part of it: give it to `loadPipeline` again.
 * @throws OptionError for what a DDPMScheduler cannot express: a respaced schedule, rescaled timesteps; FileFormatError naming the
 * file that cannot be written.
 */
export async function savePipeline(folder: string, options: SavePipelineOptions): Promise<void> {
  const owner = 'savePipeline';
  checkPath(owner, 'folder', folder);
  const { model, diffusion, ...given } = parseOptions(owner, schema, options);
  const schedule = given.schedule ?? diffusion?.schedule;
  if (!schedule) throw new OptionError(`${owner}: option 'schedule' is required (or 'diffusion')`);
  if (diffusion?.rescaleTimesteps && schedule.originalTimesteps !== 1000)
    throw new OptionError(`${owner}: diffusers has no rescaleTimesteps; ${schedule.originalTimesteps} steps cannot be saved so`);
  const scheduler = schedulerConfigOf(owner, {
    schedule,
    prediction: given.prediction ?? diffusion?.prediction ?? 'epsilon',
    variance: given.variance ?? diffusion?.variance ?? 'fixedSmall',
    clipDenoised: given.clipDenoised ?? diffusion?.clipDenoised ?? true,
    ...(diffusion?.dynamicThreshold && { dynamicThreshold: diffusion.dynamicThreshold }),
  });
  await model.save(join(folder, 'unet'));
  await makeFolder(join(folder, 'scheduler'));
  await writeJson(join(folder, 'scheduler', 'scheduler_config.json'), { _diffusers_version: diffusersVersion, ...scheduler });
  await writeJson(join(folder, 'model_index.json'), {
    _class_name: 'DDPMPipeline',
    _diffusers_version: diffusersVersion,
    scheduler: ['diffusers', 'DDPMScheduler'],
    unet: ['diffusers', 'UNet2DModel'],
  });
}

/**
 * Reads a pipeline folder of `savePipeline` or diffusers (components in folders of their own, or all in one): the network, the
 * training schedule of whichever scheduler is there, and the process of both.
 * @throws FileFormatError naming the file and the key or tensor at fault.
 */
export async function loadPipeline(device: Device, folder: string, options: LoadPipelineOptions = {}): Promise<Pipeline> {
  const { dtype, variant, denoisedFn } = parseOptions('loadPipeline', loadSchema, options);
  checkDevice('loadPipeline', device);
  checkPath('loadPipeline', 'folder', folder);
  const path = join(await componentFolder(folder, 'scheduler', 'scheduler_config.json'), 'scheduler_config.json');
  const schedulerConfig = await readJson(path);
  if (schedulerConfig === null || typeof schedulerConfig !== 'object' || Array.isArray(schedulerConfig))
    throw new FileFormatError(`'${path}' must hold an object, got ${show(schedulerConfig)}`);
  const { schedule, ...process } = processOf(schedulerConfig, `'${path}'`);
  const diffusion = new GaussianDiffusion(device, schedule, { ...process, ...(denoisedFn && { denoisedFn }) });
  const model = await UNet.load(device, folder, { dtype, variant });
  return { model, schedule, diffusion, schedulerConfig: schedulerConfig as Record<string, unknown> };
}
