import { access, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Option } from 'commander';
import { ImageDataset } from '../data/dataset.js';
import type { FolderOptions } from '../data/folder.js';
import { FileFormatError, OptionError } from '../errors.js';
import { Progress } from './progress.js';
import { choice, integer, size as sides } from './values.js';

/** Where the images of a command come from. */
export interface DataOptions {
  data: string;
  labels?: string;
  size?: number | [height: number, width: number];
  category?: string[];
  channels?: '1' | '3' | '4';
  fit?: 'cover' | 'contain' | 'fill';
  background?: string;
  skipCorrupt?: true;
  /** MiB */
  cache?: number;
}

/** Where the images come from: options that commands share. The arguments say what size and channels are by default. */
export const dataOptions = (sizes: string, channels: string): Option[] => [
  new Option(
    '--data <path>',
    'folder of images (sub-folders are classes), CIFAR-10 folder, IDX file or Iconify JSON',
  ).makeOptionMandatory(),
  new Option('--labels <file>', 'IDX file with the labels'),
  new Option('--size <pixels>', `side, or HEIGHTxWIDTH (default: ${sizes})`).argParser(sides),
  new Option('--category <names...>', 'only these categories of an Iconify JSON'),
  choice('--channels <n>', `of a folder: 3 RGB, 1 grey, 4 with alpha (default: ${channels})`, '3', '1', '4'),
  choice('--fit <kind>', 'of a folder: centre crop, bars, or stretched (default: cover)', 'cover', 'contain', 'fill'),
  new Option('--background <colour>', 'of a folder or icons: CSS colour under transparent pixels (default: white)'),
  new Option('--skip-corrupt', 'of a folder: leave out files that cannot be decoded'),
  new Option(
    '--cache <MiB>',
    'of a folder: memory for decoded images; a larger set is streamed (default: half of all)',
  ).argParser(integer(0)),
];

/** What a command asks of its data. */
interface DataRequest {
  /** Its name, for messages. */
  command: string;
  /** Sides where neither `--size` nor the format says. Default 32. */
  defaultSize?: number | [height: number, width: number];
  /** Channels of a folder's images where `--channels` does not say. Default 3. */
  defaultChannels?: DataOptions['channels'];
}

/** A folder of images or of CIFAR-10, an IDX file, or an Iconify collection, told apart by what is there. */
export async function openData(
  given: DataOptions,
  signal: AbortSignal,
  { command, defaultSize = 32, defaultChannels }: DataRequest,
): Promise<ImageDataset> {
  const { data, labels, size, category, background } = given;
  const kind = await kindOf(data);
  if (labels !== undefined && kind !== 'idx')
    throw new OptionError(`${command}: --labels goes only with an IDX file, '${data}' is none`);
  if (category && kind !== 'icons')
    throw new OptionError(`${command}: --category goes only with an Iconify JSON file, '${data}' is none`);
  for (const name of ['channels', 'fit', 'skipCorrupt', 'cache'] as const) {
    if (given[name] !== undefined && kind !== 'folder')
      throw new OptionError(`${command}: --${flagOf(name)} goes only with a folder of images, '${data}' is none`);
  }
  if (background !== undefined && kind !== 'folder' && kind !== 'icons')
    throw new OptionError(
      `${command}: --background goes only with a folder of images or an Iconify JSON file, '${data}' is neither`,
    );
  let progress: Progress | undefined;
  const onProgress = (done: number, total: number) => {
    progress ??= new Progress('images', total);
    progress.update(done);
  };
  try {
    if (kind === 'icons')
      return await ImageDataset.icons(data, { size: size ?? defaultSize, categories: category, background, onProgress, signal });
    if (kind === 'cifar10') {
      if (size !== undefined) throw new OptionError(`${command}: --size does not go with CIFAR-10, which is 32×32`);
      return await ImageDataset.cifar10(data, { signal });
    }
    if (kind === 'folder') {
      const chosen = { ...given, size: size ?? defaultSize, channels: given.channels ?? defaultChannels };
      return await openFolder(chosen, { onProgress, signal });
    }
    return await ImageDataset.idx(data, labels, { size, onProgress, signal });
  } finally {
    progress?.stop();
  }
}

async function openFolder(
  given: DataOptions & Required<Pick<DataOptions, 'size'>>,
  loading: Pick<FolderOptions, 'onProgress' | 'signal'>,
): Promise<ImageDataset> {
  const { data, size, channels, fit, background, skipCorrupt, cache } = given;
  const images = await ImageDataset.folder(data, {
    size,
    fit,
    background,
    channels: channels && (Number(channels) as 1 | 3 | 4),
    onCorrupt: skipCorrupt && 'skip',
    cacheBytes: cache && cache * 2 ** 20,
    ...loading,
  });
  for (const file of images.skipped) console.error(`left out, for it cannot be decoded: ${file}`);
  return images;
}

/** skipCorrupt → skip-corrupt */
const flagOf = (name: string) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

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
