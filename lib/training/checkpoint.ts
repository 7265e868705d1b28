import { join } from 'node:path';
import * as v from 'valibot';
import type { Device } from '../device.js';
import type { GaussianDiffusion } from '../diffusion/gaussian.js';
import { FileFormatError, OptionError } from '../errors.js';
import { readJson, writeJson } from '../files/json.js';
import { readSafetensors, type SafetensorsEntry, writeSafetensors } from '../files/safetensors.js';
import { integer, parseOptions, string } from '../options.js';
import type { AdamW } from './adamW.js';
import { descriptionFile } from './checkpointFolder.js';

/** Where bits come from: the same on the same kind of device with the same threads and instructions. */
export interface DeviceKind {
  kind: string;
  threads: number;
  isa: string;
}

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
  /** Of the trainer: all that JSON can hold. */
  options: record(),
  model: v.object({ dtype: string() }),
  /** `NoiseSchedule.toJSON()` and the options of the diffusion process. */
  diffusion: v.object({ schedule: record(), options: record() }),
  data: v.object({ fingerprint: string(), length: integer(1), shape: v.array(integer(1)), position: integer(0) }),
  device: v.object({ kind: string(), threads: integer(0), isa: v.string() }),
});

/** What `trainer.json` holds. */
export type CheckpointDescription = v.InferOutput<typeof schema>;

/** Writes `trainer.json`. Throws FileFormatError. */
export async function writeDescription(folder: string, description: Omit<CheckpointDescription, 'format' | 'packageVersion'>) {
  const manifest = (await readJson(join(__dirname, '..', '..', 'package.json'))) as { version: string };
  await writeJson(join(folder, descriptionFile), { format: 1, packageVersion: manifest.version, ...description });
}

/** Reads `trainer.json`. Throws FileFormatError naming the file and the entry at fault. */
export async function readDescription(folder: string): Promise<CheckpointDescription> {
  const path = join(folder, descriptionFile);
  const json = await readJson(path);
  return corruptUnless(path, () => parseOptions(`'${path}'`, schema, json));
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

/** The options that make the same process again. */
export function diffusionOptions(diffusion: GaussianDiffusion): Record<string, unknown> {
  const { prediction, variance, clipDenoised, rescaleTimesteps, loss, lossWeighting, timestepSampler } = diffusion;
  return { prediction, variance, clipDenoised, rescaleTimesteps, loss, lossWeighting, timestepSampler };
}

/** What decides whether a device gives the same bits. */
export function kindOf({ info }: Device): DeviceKind {
  return { kind: info.id.split(':')[0] as string, threads: info.threads ?? 0, isa: info.isa ?? info.computeCapability ?? '' };
}

/** Names of the moments, as PyTorch's Adam calls them. */
const moments = { m: 'exp_avg', v: 'exp_avg_sq' } as const;
const momentFile = 'optimizer.safetensors';

/** Writes both moments of every parameter, in PyTorch's layouts, read one at a time. Throws FileFormatError. */
export async function writeMoments(folder: string, optimizer: AdamW): Promise<void> {
  const entries: SafetensorsEntry[] = [];
  for (const [name, { shape }] of optimizer.parameters)
    for (const which of ['m', 'v'] as const)
      entries.push({ name: `${moments[which]}.${name}`, shape, data: () => optimizer.readMoment(name, which) });
  await writeSafetensors(join(folder, momentFile), entries);
}

/** Reads what `writeMoments` wrote. Throws FileFormatError naming the file, and the tensor that is missing or of another shape. */
export async function readMoments(folder: string, optimizer: AdamW): Promise<void> {
  const path = join(folder, momentFile);
  const { tensors } = await readSafetensors(path);
  for (const [name, { shape }] of optimizer.parameters)
    for (const which of ['m', 'v'] as const) {
      const key = `${moments[which]}.${name}`;
      const tensor = tensors.get(key);
      if (!tensor || tensor.shape.join() !== shape.join())
        throw new FileFormatError(`'${path}': '${key}' must have shape [${shape}], got ${tensor ? `[${tensor.shape}]` : 'none'}`);
      optimizer.writeState(name, which, await tensor.float32());
    }
}
