import { join } from 'node:path';
import { FileFormatError } from '../errors.js';
import { readSafetensors, type SafetensorsEntry, writeSafetensors } from '../files/safetensors.js';
import type { AdamW } from './adamW.js';

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
      optimizer.writeMoment(name, which, await tensor.float32());
    }
}
