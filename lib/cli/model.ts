import { access } from 'node:fs/promises';
import { join } from 'node:path';
import type { Device } from '../device.js';
import { GaussianDiffusion } from '../diffusion/gaussian.js';
import { NoiseSchedule } from '../diffusion/schedule.js';
import { FileFormatError } from '../errors.js';
import { loadPipeline } from '../files/pipeline.js';
import { UNet } from '../nn/unet.js';
import { corruptUnless, readDescription } from '../training/checkpoint.js';
import { CheckpointFolder, descriptionFile } from '../training/checkpointFolder.js';

/** What a model computes in. */
type ComputeType = 'f32' | 'bf16';

/** A trained model and its process, from a pipeline folder, a run of `train`, or one of its checkpoints (the averaged weights). */
export async function openModel(
  device: Device,
  path: string,
  dtype: ComputeType,
): Promise<{ model: UNet; diffusion: GaussianDiffusion }> {
  if (await exists(join(path, 'model_index.json'))) return loadPipeline(device, path, { dtype });
  if (await exists(join(path, descriptionFile))) return openCheckpoint(device, path, dtype);
  if (await exists(join(path, 'latest')))
    return openCheckpoint(device, join(path, await new CheckpointFolder(path).newest()), dtype);
  throw new FileFormatError(
    `'${path}' is neither a pipeline folder (no model_index.json) nor the output of 'diffusion-native train' (no latest)`,
  );
}

async function openCheckpoint(device: Device, path: string, dtype: ComputeType) {
  const { diffusion: saved } = await readDescription(path);
  const diffusion = corruptUnless(
    join(path, descriptionFile),
    () => new GaussianDiffusion(device, NoiseSchedule.fromJSON(saved.schedule), saved.options),
  );
  return { model: await UNet.load(device, join(path, 'unet_ema'), { dtype }), diffusion };
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
