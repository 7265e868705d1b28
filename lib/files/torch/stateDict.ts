import { FileFormatError } from '../../errors.js';
import { show } from '../../options.js';
import { withFile } from '../input.js';
import { readTorchArchive } from './archive.js';
import { readLegacyTorchFile } from './legacy.js';
import type { PickleValue } from './pickleHost.js';
import { TorchTensor } from './tensor.js';

/** Keys under which training programs put a state dict beside other things. */
const wrappers = ['state_dict', 'model', 'model_state_dict', 'module', 'ema', 'ema_state_dict', 'params'];

/**
 * The tensors of a state dict that `torch.save` wrote, by name: the file's only value, or the only one of its entries
 * 'state_dict', 'model', … A prefix 'module.' that all names have is left out.
 * @throws FileFormatError naming the file and what is wrong with it.
 */
export async function readStateDict(path: string): Promise<Map<string, TorchTensor>> {
  const value = (await startOf(path)) === 'zip' ? await readTorchArchive(path) : await readLegacyTorchFile(path);
  const tensors = tensorsOf(value) ?? wrappedIn(path, value);
  const names = [...tensors.keys()];
  const prefix = 'module.';
  if (!names.every((name) => name.startsWith(prefix))) return tensors;
  return new Map(Array.from(tensors, ([name, tensor]) => [name.slice(prefix.length), tensor]));
}

/** Which of PyTorch's two formats a file has, or null: neither. */
export async function torchFormat(path: string): Promise<'zip' | 'legacy' | null> {
  return withFile(path, async (file) => {
    const start = Buffer.alloc(4);
    const { bytesRead } = await file.read(start, 0, 4, 0);
    if (bytesRead === 4 && start.readUInt32BE() === 0x504b0304) return 'zip';
    return bytesRead === 4 && start[0] === 0x80 ? 'legacy' : null;
  });
}

async function startOf(path: string): Promise<'zip' | 'legacy'> {
  const format = await torchFormat(path);
  if (format === null)
    throw new FileFormatError(`'${path}' is no PyTorch file: it begins with neither a zip archive nor a pickle`);
  return format;
}

/** The tensors of a dictionary that holds nothing else, or null. */
function tensorsOf(value: PickleValue | undefined): Map<string, TorchTensor> | null {
  if (!(value instanceof Map) || value.size === 0) return null;
  for (const [name, item] of value) if (typeof name !== 'string' || !(item instanceof TorchTensor)) return null;
  return value as Map<string, TorchTensor>;
}

function wrappedIn(path: string, value: PickleValue): Map<string, TorchTensor> {
  if (!(value instanceof Map)) throw new FileFormatError(`'${path}' must hold a dictionary of tensors`);
  const found = wrappers.flatMap((name) => {
    const tensors = tensorsOf(value.get(name));
    return tensors ? [{ name, tensors }] : [];
  });
  const [only] = found;
  if (only === undefined || found.length > 1) {
    const keys = Array.from(value.keys());
    const held = `${keys.slice(0, 5).map(show).join(', ')}${keys.length > 5 ? ` and ${keys.length - 5} more` : ''}`;
    const what = found.length > 1 ? `several: '${found.map(({ name }) => name).join("', '")}'` : `none among its entries ${held}`;
    throw new FileFormatError(`'${path}' must hold one dictionary of tensors, got ${what}; save that one alone`);
  }
  return only.tensors;
}
