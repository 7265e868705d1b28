import { createHash } from 'node:crypto';
import type { Dirent } from 'node:fs';
import { open, opendir, realpath, stat } from 'node:fs/promises';
import { extname, join, sep } from 'node:path';
import { DatasetError, FileFormatError } from '../errors.js';
import { forEachInSlices, Slices } from '../slices.js';
import { forEachConcurrent } from './concurrent.js';
import { reason } from './images.js';
import { sortedInSlices } from './sortedInSlices.js';

/** Extensions of the files that are taken for images. */
export const imageExtensions = ['.png', '.jpg', '.jpeg', '.webp', '.gif', '.avif', '.tif', '.tiff', '.svg'];
const known = new Set(imageExtensions);

/** The relative paths of the images under a folder, sorted by name at each level. Throws FileFormatError naming a folder. */
export async function listImages(owner: string, root: string): Promise<string[]> {
  const files: string[] = [];
  const slices = new Slices();
  // `above` guards against link cycles.
  const walk = async (folder: string, above: readonly string[]): Promise<void> => {
    const here = join(root, folder);
    const entries = await visibleEntries(owner, here);
    const real = await realpath(here);
    if (above.includes(real)) return;
    for (const entry of entries) {
      await slices.next();
      const name = join(folder, entry.name);
      const isImage = known.has(extname(entry.name).toLowerCase());
      if (await isFolder(join(root, name), entry)) await walk(name, [...above, real]);
      else if (isImage) files.push(name);
    }
  };
  await walk('', []);
  return files;
}

/** The first folder of a relative path; '' for a file in the root. */
export function topFolder(file: string): string {
  const end = file.indexOf(sep);
  return end < 0 ? '' : file.slice(0, end);
}

/**
 * The sorted class folders of the listed files.
 * @returns null when some file lies in the root, unless they are `required`
 * @throws DatasetError naming a class folder without images, or the file in the root.
 */
export async function classFolders(
  owner: string,
  root: string,
  files: readonly string[],
  required: boolean,
): Promise<string[] | null> {
  const found = new Set<string>();
  await forEachInSlices(files.length, (index) => {
    found.add(topFolder(files[index] as string));
  });
  if (found.has('')) {
    const stray = files.find((file) => topFolder(file) === '') as string;
    if (required) throw new DatasetError(`${owner}: ${join(root, stray)} lies in no class folder, but 'labels' is true`);
    return null;
  }
  for (const entry of await visibleEntries(owner, root)) {
    if (entry.isDirectory() && !found.has(entry.name)) {
      throw new DatasetError(`${owner}: class folder ${join(root, entry.name)} holds no image`);
    }
  }
  return [...found].sort();
}

const endBytes = 4096;
const digestBytes = 32;

/**
 * A SHA-256 over a description and, of every file, its relative path, its size and 4 KiB at either end: whole files would take too
 * long for a set that is larger than memory, and the checksums of most formats are at the end.
 */
export async function fingerprintFiles(
  owner: string,
  root: string,
  files: readonly string[],
  description: object,
): Promise<string> {
  const digests = new Uint8Array(files.length * digestBytes);
  const digest = async (index: number) => {
    const name = files[index] as string;
    digests.set(await digestFile(owner, join(root, name), name.split(sep).join('/')), index * digestBytes);
  };
  await forEachConcurrent(files.length, digest, {});
  const hash = createHash('sha256').update(JSON.stringify(description));
  await forEachInSlices(files.length, (index) => {
    hash.update(digests.subarray(index * digestBytes, (index + 1) * digestBytes));
  });
  return hash.digest('hex');
}

async function digestFile(owner: string, path: string, name: string): Promise<Buffer> {
  try {
    const file = await open(path);
    try {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(endBytes), 0, endBytes, 0);
      const head = buffer.subarray(0, bytesRead);
      const size = bytesRead < endBytes ? bytesRead : (await file.stat()).size;
      const tail = Buffer.alloc(Math.min(size - bytesRead, endBytes));
      if (tail.length > 0) await file.read(tail, 0, tail.length, size - tail.length);
      return createHash('sha256').update(JSON.stringify({ name, size })).update(head).update(tail).digest();
    } finally {
      await file.close();
    }
  } catch (cause) {
    throw new FileFormatError(`${owner}: cannot read ${path}: ${reason(cause)}`, { cause });
  }
}

/** Whether an entry is a folder or a link to one. A dangling link counts as a file: decoding it names it. */
async function isFolder(path: string, entry: { isDirectory(): boolean; isSymbolicLink(): boolean }): Promise<boolean> {
  if (!entry.isSymbolicLink()) return entry.isDirectory();
  return stat(path).then(
    (target) => target.isDirectory(),
    () => false,
  );
}

async function visibleEntries(owner: string, folder: string): Promise<Dirent[]> {
  try {
    const entries: Dirent[] = [];
    for await (const entry of await opendir(folder, { bufferSize: 512 })) {
      if (!entry.name.startsWith('.')) entries.push(entry);
    }
    return await sortedInSlices(entries, (a, b) => (a.name < b.name ? -1 : 1));
  } catch (cause) {
    throw new FileFormatError(`${owner}: cannot read folder ${folder}: ${reason(cause)}`, { cause });
  }
}
