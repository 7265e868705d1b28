import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readSafetensors, type SafetensorsEntry, writeSafetensors } from '../../lib/files/safetensors.js';
import { goldenPath } from './shared.js';

/** A small model folder of diffusers with attention. */
export const smallModel = goldenPath('unet/d1_cifar_style');
export const weightsFile = 'diffusion_pytorch_model.safetensors';

/** Its configuration. */
export async function smallConfig(): Promise<Record<string, unknown>> {
  return JSON.parse(await readFile(join(smallModel, 'config.json'), 'utf8'));
}

/** Its tensors. */
export async function smallWeights(): Promise<SafetensorsEntry[]> {
  const { tensors } = await readSafetensors(join(smallModel, weightsFile));
  return [...tensors.values()].map(({ name, shape, data }) => ({ name, shape, data: () => data() }));
}

/** Names of diffusers up to 0.16. */
export function oldName(name: string): string {
  const old: Record<string, string> = {
    '.to_q.': '.query.',
    '.to_k.': '.key.',
    '.to_v.': '.value.',
    '.to_out.0.': '.proj_attn.',
  };
  return name.replace(/\.to_[qkv]\.|\.to_out\.0\./, (part) => old[part] as string);
}

/** Writes a folder: a value is what the JSON file of that name holds (text as it is), or the tensors of a safetensors file. */
export async function writeModel(folder: string, files: Record<string, unknown>): Promise<string> {
  await mkdir(folder, { recursive: true });
  for (const [name, content] of Object.entries(files)) {
    await mkdir(join(folder, name, '..'), { recursive: true });
    if (name.endsWith('.safetensors')) await writeSafetensors(join(folder, name), content as SafetensorsEntry[]);
    else await writeFile(join(folder, name), typeof content === 'string' ? content : JSON.stringify(content));
  }
  return folder;
}

/** Safetensors bytes with 16-bit values: the upper half of each float32, or the half nearest to it. */
export async function sixteenBit(entries: readonly SafetensorsEntry[], dtype: 'BF16' | 'F16'): Promise<Buffer> {
  const header: Record<string, unknown> = {};
  const parts: Buffer[] = [];
  let at = 0;
  for (const { name, shape, data } of entries) {
    const values = (typeof data === 'function' ? await data() : data) as Float32Array;
    const halves = Uint16Array.from(values, dtype === 'BF16' ? upperHalf : nearestHalf);
    header[name] = { dtype, shape, data_offsets: [at, at + halves.byteLength] };
    at += halves.byteLength;
    parts.push(Buffer.from(halves.buffer));
  }
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, ...parts]);
}

export const upperHalf = (value: number) => (new Uint32Array(Float32Array.of(value).buffer)[0] as number) >>> 16;

/** For values that are exact in float16 and normal there, or zero, as those of the reference data are. */
export function nearestHalf(value: number): number {
  const bits = new Uint32Array(Float32Array.of(value).buffer)[0] as number;
  if (value === 0) return bits >>> 16;
  return ((bits >>> 16) & 0x8000) | ((((bits >>> 23) & 0xff) - 112) << 10) | ((bits >>> 13) & 0x3ff);
}
