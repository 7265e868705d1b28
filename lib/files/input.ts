import { type FileHandle, open } from 'node:fs/promises';
import { FileFormatError } from '../errors.js';
import { isSystemError } from './atomic.js';

/** What tells whether a path still names the file that was looked at before. */
export interface FileIdentity {
  dev: number;
  ino: number;
  size: number;
  mtimeMs: number;
}

/** Opens a file for the time of one function; what the system refuses becomes a FileFormatError naming the file. */
export async function withFile<R>(path: string, use: (file: FileHandle, identity: FileIdentity) => Promise<R>): Promise<R> {
  try {
    const file = await open(path, 'r');
    try {
      const status = await file.stat();
      if (!status.isFile()) throw new FileFormatError(`'${path}' is not a file`);
      return await use(file, { dev: status.dev, ino: status.ino, size: status.size, mtimeMs: status.mtimeMs });
    } finally {
      await file.close();
    }
  } catch (error) {
    throw isSystemError(error) ? new FileFormatError(`cannot read '${path}': ${error.message}`, { cause: error }) : error;
  }
}

/** As `withFile`; the file must still be the one that was looked at before. */
export function withSameFile<R>(path: string, identity: FileIdentity, use: (file: FileHandle) => Promise<R>): Promise<R> {
  return withFile(path, (file, now) => {
    const same = now.dev === identity.dev && now.ino === identity.ino && now.mtimeMs === identity.mtimeMs;
    if (!same || now.size !== identity.size) throw new FileFormatError(`'${path}' changed while it was being read`);
    return use(file);
  });
}

/** Fills `bytes` from the file, a piece a turn. */
export async function readFully(file: FileHandle, bytes: Uint8Array, position: number, path: string): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const { bytesRead } = await file.read(bytes, at, Math.min(1 << 26, bytes.length - at), position + at);
    if (bytesRead === 0)
      throw new FileFormatError(`'${path}' ends at byte ${position + at}, before the data that its header lists`);
    at += bytesRead;
  }
}
