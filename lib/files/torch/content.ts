import type { FileHandle } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { createInflateRaw } from 'node:zlib';
import { FileFormatError } from '../../errors.js';
import { uninitialised } from '../../hostArrays.js';
import { readFully } from '../input.js';
import type { ZipEntry } from './zip.js';

const chunkBytes = 1 << 18;

/** Reads bytes `begin` to `end` of an entry's content; what lies before them is unpacked and dropped, what lies behind not read. */
export async function readContent(
  path: string,
  file: FileHandle,
  entry: ZipEntry,
  begin = 0,
  end = entry.bytes,
): Promise<Uint8Array> {
  const content = uninitialised(Uint8Array, end - begin);
  if (content.length === 0) return content;
  if (entry.deflated) await inflate(path, file, entry, begin, content);
  else await readFully(file, content, entry.position + begin, path);
  return content;
}

async function inflate(path: string, file: FileHandle, entry: ZipEntry, begin: number, content: Uint8Array): Promise<void> {
  const fail = (what: string, cause?: unknown) =>
    new FileFormatError(`'${path}' is damaged: its entry '${entry.name}' ${what}`, { cause });
  const inflater = createInflateRaw({ chunkSize: chunkBytes });
  const source = Readable.from(chunksOf(path, file, entry), { highWaterMark: 1 });
  let failure: unknown;
  source.once('error', (error) => {
    failure = error;
    inflater.destroy(error);
  });
  source.pipe(inflater);
  let at = -begin;
  try {
    for await (const chunk of inflater as AsyncIterable<Buffer>) {
      const from = Math.max(0, -at);
      const to = Math.min(chunk.length, content.length - at);
      if (from < to) content.set(chunk.subarray(from, to), at + from);
      at += chunk.length;
      if (at + begin > entry.bytes) throw fail(`unpacks to more than its ${entry.bytes} bytes`);
      if (at >= content.length && begin + content.length < entry.bytes) return;
    }
  } catch (error) {
    if (error instanceof FileFormatError) throw error;
    if (failure !== undefined) throw failure;
    throw fail(`cannot be unpacked: ${(error as Error).message}`, error);
  } finally {
    source.destroy();
    inflater.destroy();
  }
  if (at < content.length) throw fail(`unpacks to ${at + begin} bytes, not ${entry.bytes}`);
}

async function* chunksOf(path: string, file: FileHandle, entry: ZipEntry): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < entry.packedBytes; at += chunkBytes) {
    const chunk = new Uint8Array(Math.min(chunkBytes, entry.packedBytes - at));
    await readFully(file, chunk, entry.position + at, path);
    yield chunk;
  }
}
