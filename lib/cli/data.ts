import { access, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ImageDataset } from '../data/dataset.js';
import { FileFormatError, OptionError } from '../errors.js';
import { Progress } from './progress.js';

/** Where the images of `train` come from. */
export interface DataOptions {
  data: string;
  labels?: string;
  size?: number | [height: number, width: number];
  category?: string[];
}

const defaultSize = 32;

/** A folder of images or of CIFAR-10, an IDX file, or an Iconify collection, told apart by what is there. */
export async function openData({ data, labels, size, category }: DataOptions, signal: AbortSignal): Promise<ImageDataset> {
  const kind = await kindOf(data);
  if (labels !== undefined && kind !== 'idx')
    throw new OptionError(`train: --labels goes only with an IDX file, '${data}' is none`);
  if (category && kind !== 'icons')
    throw new OptionError(`train: --category goes only with an Iconify JSON file, '${data}' is none`);
  let progress: Progress | undefined;
  const onProgress = (done: number, total: number) => {
    progress ??= new Progress('images', total);
    progress.update(done);
  };
  try {
    if (kind === 'icons')
      return await ImageDataset.icons(data, { size: size ?? defaultSize, categories: category, onProgress, signal });
    if (kind === 'cifar10') {
      if (size !== undefined) throw new OptionError('train: --size does not go with CIFAR-10, which is 32×32');
      return await ImageDataset.cifar10(data, { signal });
    }
    if (kind === 'folder') return await ImageDataset.folder(data, { size: size ?? defaultSize, onProgress, signal });
    return await ImageDataset.idx(data, labels, { size, onProgress, signal });
  } finally {
    progress?.stop();
  }
}

async function kindOf(path: string): Promise<'folder' | 'cifar10' | 'icons' | 'idx'> {
  const found = await stat(path).catch((cause: Error) => {
    throw new FileFormatError(`cannot read ${path}: ${cause.message}`, { cause });
  });
  if (!found.isDirectory()) return path.endsWith('.json') ? 'icons' : 'idx';
  return access(join(path, 'data_batch_1.bin')).then(
    () => 'cifar10',
    () => 'folder',
  );
}
