import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { findNativeFile } from '#lib/nativeFiles.js';
import type { Overhead } from '../result.js';

const root = join(__dirname, '..', '..', '..');

/** Bytes on the disk: what npm installs of this package, without its dependencies, and the native files beside it. */
export async function installedBytes(): Promise<Overhead[]> {
  const { files } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { files: string[] };
  const [wanted, unwanted] = [files.filter((one) => !one.startsWith('!')), files.filter((one) => one.startsWith('!'))];
  const left = unwanted.map((one) => join(root, one.slice(1)));
  let bytes = 0;
  for (const path of ['package.json', ...wanted]) {
    const [folder = '', ending = ''] = path.split('/*'); // 'bench/peers/*.py'
    bytes += await bytesOf(join(root, folder), ending, left);
  }
  const native = ['diffusion_native.node', 'libdiffusion_cpu.so', 'libdiffusion_cuda.so'].map(findNativeFile);
  let nativeBytes = 0;
  for (const path of native) if (path) nativeBytes += (await stat(path)).size;
  const value = (size: number) => ({ median: size, p10: size, p90: size });
  return [
    { name: 'files of the package', unit: 'bytes', value: value(bytes) },
    { name: 'native files', unit: 'bytes', value: value(nativeBytes) },
  ];
}

async function bytesOf(path: string, ending: string, left: readonly string[]): Promise<number> {
  if (left.includes(path)) return 0;
  const found = await stat(path).catch(() => null);
  if (!found?.isDirectory()) return path.endsWith(ending) ? (found?.size ?? 0) : 0;
  let bytes = 0;
  for (const name of await readdir(path)) bytes += await bytesOf(join(path, name), ending, left);
  return bytes;
}
