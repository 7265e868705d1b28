import { join } from 'node:path';
import { FileFormatError, OptionError } from '../errors.js';
import { readSafetensors, writeSafetensors } from '../files/safetensors.js';
import { historyLength, type LossSecondMomentSampler } from './lossSecondMoment.js';

const fileName = 'timesteps.safetensors';
const [losses, counts] = ['loss_history', 'loss_counts'];

/** Writes what a sampler of timesteps remembers. Throws FileFormatError. */
export async function writeLossHistory(folder: string, sampler: LossSecondMomentSampler): Promise<void> {
  const history = await sampler.read();
  const steps = history.counts.length;
  await writeSafetensors(join(folder, fileName), [
    { name: losses, shape: [steps, historyLength], data: history.losses },
    { name: counts, shape: [steps], data: history.counts },
  ]);
}

/** Reads what `writeLossHistory` wrote. Throws FileFormatError naming the file, and the tensor that is missing or wrong. */
export async function readLossHistory(folder: string, sampler: LossSecondMomentSampler): Promise<void> {
  const path = join(folder, fileName);
  const { tensors } = await readSafetensors(path);
  const steps = sampler.diffusion.schedule.length;
  const read = async (name: string, shape: readonly number[], dtype: string) => {
    const tensor = tensors.get(name);
    if (tensor?.shape.join() === shape.join() && tensor.dtype === dtype) return tensor.data();
    const found = tensor ? `${tensor.dtype} [${tensor.shape}]` : 'none';
    throw new FileFormatError(`'${path}': '${name}' must be ${dtype} of shape [${shape}], got ${found}`);
  };
  const history = {
    losses: (await read(losses, [steps, historyLength], 'F32')) as Float32Array,
    counts: (await read(counts, [steps], 'I32')) as Int32Array,
  };
  try {
    sampler.write(history);
  } catch (cause) {
    if (!(cause instanceof OptionError)) throw cause;
    throw new FileFormatError(`'${path}': ${cause.message}`, { cause });
  }
}
