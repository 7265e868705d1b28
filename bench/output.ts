// The files that the bench suite writes.
import { open, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { FileFormatError } from 'diffusion-native';
import { isSystemError, makeFolders, writeFileAtomic } from '#lib/files/atomic.js';
import type { BenchResult } from './result.js';

/** A result as JSON: a line for each of its measurements, of its breakdowns and of its costs. */
export function resultText(result: BenchResult): string {
  const fields = Object.entries(result).filter(([, value]) => value !== undefined);
  const lines = fields.map(
    ([name, value]) => `  ${JSON.stringify(name)}: ${Array.isArray(value) ? list(value) : JSON.stringify(value)}`,
  );
  return `{\n${lines.join(',\n')}\n}\n`;
}

const list = (items: readonly unknown[]) =>
  items.length === 0 ? '[]' : `[\n${items.map((item) => `    ${JSON.stringify(item)}`).join(',\n')}\n  ]`;

/** Makes the folders of a file and replaces it. @throws FileFormatError naming the file that cannot be written. */
export async function writeFile(path: string, content: string | Uint8Array): Promise<void> {
  await inFolder(path, () => writeFileAtomic(path, content));
}

/**
 * Makes sure, before hours of measuring, that a file can be written, and leaves it as it is.
 * @throws FileFormatError naming the file that cannot be written.
 */
export async function checkWritable(path: string): Promise<void> {
  const beside = join(dirname(path), `.${basename(path)}.${process.pid}.tmp`);
  await inFolder(path, async () => {
    await (await open(beside, 'wx')).close();
    await rm(beside);
  });
  const there = await stat(path).catch(() => undefined);
  if (there?.isDirectory()) throw new FileFormatError(`cannot write '${path}': it is a folder`);
}

async function inFolder(path: string, write: () => Promise<void>): Promise<void> {
  try {
    await makeFolders(dirname(path));
    await write();
  } catch (error) {
    if (!isSystemError(error)) throw error;
    throw new FileFormatError(`cannot write '${path}': ${error.message}`, { cause: error });
  }
}
