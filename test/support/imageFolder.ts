import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { temporaryFolder } from './temporaryFolder.js';

/** A function that makes new folders with these files, removed after the tests of the calling file. */
export function imageFolders(): (files: Record<string, Uint8Array | string>) => Promise<string> {
  const root = temporaryFolder();
  let folders = 0;
  return async (files) => {
    const folder = join(root, `set${folders++}`);
    await mkdir(folder);
    for (const [name, content] of Object.entries(files)) {
      await mkdir(dirname(join(folder, name)), { recursive: true });
      await writeFile(join(folder, name), content);
    }
    return folder;
  };
}
