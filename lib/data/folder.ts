import { readdir, realpath, stat } from 'node:fs/promises';
import { extname, join, sep } from 'node:path';
import * as v from 'valibot';
import { DatasetError, FileFormatError } from '../errors.js';
import { parseColour } from '../files/colour.js';
import { loadSharp } from '../files/sharp.js';
import { oneOf, parseOptions, signal, string } from '../options.js';
import { forEachConcurrent, type LoadingOptions } from './concurrent.js';
import { allocateImages, type ImageSize, type Images, imageSize, progress, reason, requirePath } from './images.js';

/** Options of `ImageDataset.folder`. */
export interface FolderOptions extends LoadingOptions {
  /** Side in pixels, or `[height, width]`. */
  size: ImageSize;
  /** 3: RGB, 1: grey, 4: RGB and alpha. Default 3. */
  channels?: 1 | 3 | 4;
  /** CSS colour under transparent pixels (with 1 or 3 channels) and in the bars of `fit: 'contain'`. Default `'white'`. */
  background?: string;
  /** `'cover'`: centre crop; `'contain'`: whole image with bars; `'fill'`: stretched. Default `'cover'`. */
  fit?: 'cover' | 'contain' | 'fill';
}

const schema = v.strictObject({
  size: imageSize(),
  channels: v.optional(v.picklist([3, 1, 4], '3, 1 or 4'), 3),
  background: v.optional(string(), 'white'),
  fit: v.optional(oneOf('cover', 'contain', 'fill'), 'cover'),
  onProgress: v.optional(progress()),
  signal: v.optional(signal()),
});

const owner = 'ImageDataset.folder';
const extensions = new Set(['.png', '.jpg', '.jpeg', '.webp', '.gif', '.avif', '.tif', '.tiff', '.svg']);

/**
 * Reads every image under `path`. Files are told by extension, hidden files and folders are passed over, the order is that of
 * the sorted names.
 *
 * The classes are the root's sub-folders (deeper folders belong to the sub-folder they are in). With images in the root too, all
 * images are taken and there are no labels, for not every image has a class.
 *
 * EXIF orientation is applied; of an animation the first frame is taken.
 * @throws FileFormatError naming the path: missing folder, an image that cannot be decoded.
 * @throws DatasetError naming the path: a folder or class folder without images.
 */
export async function readFolder(path: string, options: FolderOptions): Promise<Images> {
  requirePath(owner, 'path', path);
  const { size, channels, background, fit, onProgress, signal } = parseOptions(owner, schema, options);
  await parseColour(owner, background, 4);
  const files = await listImages(path);
  if (files.length === 0) throw new DatasetError(`${owner}: no image (${[...extensions].join(' ')}) in ${path}`);
  const classNames = await classFolders(path, files);
  const [height, width] = size;
  const shape = [files.length, height, width, channels] as const;
  const images = allocateImages(owner, shape);
  const sharp = await loadSharp();

  const decode = async (index: number) => {
    const file = join(path, files[index] as string);
    try {
      const image = sharp(file).autoOrient().resize(width, height, { fit, background });
      if (channels === 4) image.ensureAlpha();
      else image.flatten({ background });
      const pixels = await image
        .toColourspace(channels === 1 ? 'b-w' : 'srgb')
        .raw({ depth: 'uchar' })
        .toBuffer();
      const bytes = height * width * channels;
      if (pixels.length !== bytes) throw new Error(`decoded to ${pixels.length} bytes instead of ${bytes}`);
      images.set(pixels, index * bytes);
    } catch (cause) {
      throw new FileFormatError(`${owner}: cannot read image ${file}: ${reason(cause)}`, { cause });
    }
  };
  await forEachConcurrent(files.length, decode, { onProgress, signal });

  const classOf = new Map(classNames?.map((name, label) => [name, label]));
  const labels = classNames && Int32Array.from(files, (file) => classOf.get(topFolder(file)) as number);
  return { images, shape, labels, classNames };
}

/** The first folder of a relative path; '' for a file in the root. */
function topFolder(file: string): string {
  const end = file.indexOf(sep);
  return end < 0 ? '' : file.slice(0, end);
}

/** The sorted class folders of the listed files, or null when some file lies in the root. */
async function classFolders(path: string, files: string[]): Promise<string[] | null> {
  const found = new Set(files.map(topFolder));
  if (found.has('')) return null;
  for (const entry of await visibleEntries(path)) {
    if (entry.isDirectory() && !found.has(entry.name)) {
      throw new DatasetError(`${owner}: class folder ${join(path, entry.name)} holds no image`);
    }
  }
  return [...found].sort();
}

/** Adds the relative paths of the images under `root`/`folder`, sorted by name at each level. `above` guards against link cycles. */
async function listImages(root: string, folder = '', files: string[] = [], above: readonly string[] = []): Promise<string[]> {
  const here = join(root, folder);
  const entries = await visibleEntries(here);
  const real = await realpath(here);
  if (above.includes(real)) return files;
  for (const entry of entries) {
    const name = join(folder, entry.name);
    const isImage = extensions.has(extname(entry.name).toLowerCase());
    if (await isFolder(join(root, name), entry)) await listImages(root, name, files, [...above, real]);
    else if (isImage) files.push(name);
  }
  return files;
}

/** Whether an entry is a folder or a link to one. A dangling link counts as a file: decoding it names it. */
async function isFolder(path: string, entry: { isDirectory(): boolean; isSymbolicLink(): boolean }): Promise<boolean> {
  if (!entry.isSymbolicLink()) return entry.isDirectory();
  return stat(path).then(
    (target) => target.isDirectory(),
    () => false,
  );
}

async function visibleEntries(folder: string) {
  try {
    const entries = await readdir(folder, { withFileTypes: true });
    return entries.filter((entry) => !entry.name.startsWith('.')).sort((a, b) => (a.name < b.name ? -1 : 1));
  } catch (cause) {
    throw new FileFormatError(`${owner}: cannot read folder ${folder}: ${reason(cause)}`, { cause });
  }
}
