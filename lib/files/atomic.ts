import { randomBytes } from 'node:crypto';
import { type FileHandle, mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { FileFormatError } from '../errors.js';

/** One system call hands over at most this many bytes. */
const chunkBytes = 1 << 26;

/**
 * Replaces a file in one step: content goes to a temporary file in the same folder, is flushed to the disk, and takes the name over.
 * Whatever fails, the previous file stays as it was and no temporary file is left behind.
 * @param content the text or bytes, or a function that writes them in pieces
 * @throws FileFormatError naming the file when the system refuses; errors of `content` itself pass through.
 */
export async function writeFileAtomic(
  path: string,
  content: string | ArrayBufferView | ((append: (bytes: ArrayBufferView) => Promise<void>) => Promise<void>),
): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}.tmp`);
  let created = false;
  try {
    const file = await open(temporary, 'wx');
    created = true;
    try {
      const append = (bytes: ArrayBufferView) => writeAll(file, bytes);
      if (typeof content === 'function') await content(append);
      else await append(typeof content === 'string' ? Buffer.from(content) : content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
    await syncFolder(dirname(path));
  } catch (error) {
    if (created) await rm(temporary, { force: true }).catch(() => undefined);
    throw isSystemError(error) ? new FileFormatError(`cannot write '${path}': ${error.message}`, { cause: error }) : error;
  }
}

/**
 * Makes a folder and those above it. (Node's own `recursive` never ends where a parent refuses with ENOENT, as /proc does.)
 * @throws the system's error.
 */
export async function makeFolders(path: string): Promise<void> {
  try {
    await mkdir(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' && dirname(path) !== path && !(await isFolder(dirname(path)))) {
      await makeFolders(dirname(path));
      await mkdir(path).catch(async (again) => {
        if (!(await isFolder(path))) throw again;
      });
    } else if (!(await isFolder(path))) throw error;
  }
}

const isFolder = (path: string) =>
  stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );

/** Whether an error comes from the operating system (no such file, disk full, …). */
export function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && typeof (error as NodeJS.ErrnoException).syscall === 'string';
}

async function writeAll(file: FileHandle, content: ArrayBufferView): Promise<void> {
  const bytes = new Uint8Array(content.buffer, content.byteOffset, content.byteLength);
  for (let at = 0; at < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, at, Math.min(chunkBytes, bytes.length - at));
    at += bytesWritten;
  }
}

/** Makes the new name itself durable. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
