import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { FileFormatError } from '../errors.js';
import { isSystemError } from './atomic.js';
import { readJson } from './json.js';

/** The name of diffusers' weight files, before the variant and the extension. */
export const weightsName = 'diffusion_pytorch_model';

/** `diffusion_pytorch_model.fp16.safetensors`, or a list of parts: `….safetensors.index.fp16.json`, also `….fp16.safetensors.index.json`. */
const fileName = /^diffusion_pytorch_model(?:\.([^.]+))?\.(safetensors|bin)(?:\.index(?:\.([^.]+))?\.json)?$/;

/** `diffusion_pytorch_model.fp16-00001-of-00002.safetensors` */
const partName = /-\d+-of-\d+\./;

interface WeightFile {
  name: string;
  variant: string | undefined;
  /** Lists the parts instead of holding the weights. */
  isIndex: boolean;
  /** What is taken where there are several: safetensors first, then files in one piece. */
  rank: number;
}

/**
 * The weight file of a model folder, or its parts.
 * @param variant left out: the file without a variant, or else the only variant there is
 * @throws FileFormatError naming the folder, and the files in it that might be meant.
 */
export async function findWeightFiles(folder: string, variant?: string): Promise<string[]> {
  const files = (await namesIn(folder)).flatMap(describe).sort((a, b) => a.rank - b.rank || (a.name < b.name ? -1 : 1));
  const variants = [...new Set(files.map((file) => file.variant))];
  const wanted = variant === undefined && variants.length === 1 ? variants[0] : variant;
  const file = files.find((one) => one.variant === wanted);
  if (file === undefined) {
    const missing = `${weightsName}${variant === undefined ? '' : `.${variant}`}.safetensors`;
    const names = files.map(({ name }) => name).join(', ');
    const found = names === '' ? '' : `; there are ${names}: name one's variant by option 'variant'`;
    throw new FileFormatError(`'${folder}' has no ${missing} or .bin${found}`);
  }
  return file.isIndex ? partsOf(folder, file.name) : [join(folder, file.name)];
}

function describe(name: string): WeightFile[] {
  const match = fileName.exec(name);
  if (match === null || partName.test(name)) return [];
  const isIndex = name.endsWith('.json');
  return [{ name, variant: match[1] ?? match[3], isIndex, rank: (match[2] === 'bin' ? 2 : 0) + (isIndex ? 1 : 0) }];
}

async function partsOf(folder: string, index: string): Promise<string[]> {
  const json = (await readJson(join(folder, index))) as { weight_map?: unknown } | null;
  const map = json?.weight_map;
  const parts = map !== null && typeof map === 'object' ? [...new Set(Object.values(map))] : [];
  if (parts.length === 0 || !parts.every((part) => typeof part === 'string' && /^[^/\\\0]+\.(safetensors|bin)$/.test(part)))
    throw new FileFormatError(`'${join(folder, index)}': weight_map must name .safetensors or .bin files of its folder`);
  return parts.map((part) => join(folder, part as string));
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (!isSystemError(error)) throw error;
    throw new FileFormatError(`cannot read '${folder}': ${error.message}`, { cause: error });
  }
}
