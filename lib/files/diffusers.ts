import { readdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Parameter } from '../autograd/parameter.js';
import { FileFormatError } from '../errors.js';
import { configSchema, contradiction, type UNet2DConfig } from '../nn/unetConfig.js';
import { parseOptions, show } from '../options.js';
import { isSystemError, makeFolders } from './atomic.js';
import { readJson, writeJson } from './json.js';
import { readSafetensors, type SafetensorsTensor, writeSafetensors } from './safetensors.js';

/** The version of diffusers whose format is written. */
export const diffusersVersion = '0.35.2';

const weightsName = 'diffusion_pytorch_model';

/** Names of diffusers up to 0.16 for the layers of an attention block. */
const oldAttentionNames = { query: 'to_q', key: 'to_k', value: 'to_v', proj_attn: 'to_out.0' } as const;

/** A model on disk whose configuration has been read and whose weights have been found. */
export interface ModelFolder {
  config: UNet2DConfig;
  /** Reads every weight; one tensor is in memory at a time. Throws FileFormatError naming tensors that are missing, left over or of another shape. */
  loadInto(parameters: ReadonlyMap<string, Parameter>): Promise<void>;
}

/**
 * Finds and checks a UNet2DModel.
 * @param path a model folder, a pipeline folder (`unet/` in it, or all in one), or a .safetensors file with config.json beside it
 * @param variant the weight file's, as in `diffusion_pytorch_model.fp16.safetensors`; without it the only file there is taken
 * @throws FileFormatError naming the file and the key at fault.
 */
export async function readModelFolder(path: string, variant?: string): Promise<ModelFolder> {
  const kind = await kindOf(path);
  if (kind === null) throw new FileFormatError(`'${path}' does not exist`);
  if (kind === 'file' && !path.endsWith('.safetensors'))
    throw new FileFormatError(`'${path}' is neither a folder nor a .safetensors file`);
  const folder = kind === 'file' ? dirname(path) : await componentFolder(path, 'unet', 'config.json');
  const config = await readUNetConfig(join(folder, 'config.json'));
  const files = kind === 'file' ? [path] : await weightFiles(folder, variant);
  const tensors = new Map<string, SafetensorsTensor>();
  for (const file of files)
    for (const tensor of (await readSafetensors(file)).tensors.values()) tensors.set(newName(tensor.name), tensor);
  return { config, loadInto: (parameters) => loadWeights(files[0] as string, tensors, parameters) };
}

/** Writes config.json and the weights as diffusers does, PyTorch's layouts in float32; one tensor is in memory at a time. */
export async function writeModelFolder(
  folder: string,
  config: UNet2DConfig,
  parameters: ReadonlyMap<string, Parameter>,
): Promise<void> {
  await makeFolder(folder);
  const entries = Array.from(parameters.values(), (parameter) => ({
    name: parameter.name,
    shape: parameter.shape,
    data: () => parameter.read(),
  }));
  await writeSafetensors(join(folder, `${weightsName}.safetensors`), entries);
  await writeJson(join(folder, 'config.json'), { _class_name: 'UNet2DModel', _diffusers_version: diffusersVersion, ...config });
}

/** Where a pipeline's component lies: in a folder of its name, or in the pipeline's own. */
export async function componentFolder(path: string, component: string, file: string): Promise<string> {
  for (const folder of [join(path, component), path]) if ((await kindOf(join(folder, file))) === 'file') return folder;
  throw new FileFormatError(`'${path}' holds neither ${file} nor ${component}/${file}`);
}

/** Makes a folder and those above it. */
export async function makeFolder(path: string): Promise<void> {
  try {
    await makeFolders(path);
  } catch (cause) {
    throw new FileFormatError(`cannot make the folder '${path}': ${(cause as Error).message}`, { cause });
  }
}

async function readUNetConfig(path: string): Promise<UNet2DConfig> {
  const json = await readJson(path);
  if (json === null || typeof json !== 'object' || Array.isArray(json))
    throw new FileFormatError(`'${path}' must hold an object, got ${show(json)}`);
  const className = (json as Record<string, unknown>)._class_name ?? 'UNet2DModel';
  if (className !== 'UNet2DModel')
    throw new FileFormatError(`'${path}': _class_name must be 'UNet2DModel', got ${show(className)}`);
  let config: UNet2DConfig;
  try {
    config = parseOptions(`'${path}'`, configSchema, json);
  } catch (cause) {
    throw new FileFormatError((cause as Error).message.replace(': option ', ': key '), { cause });
  }
  const problem = contradiction(config);
  if (problem !== null) throw new FileFormatError(`'${path}': ${problem}`);
  return config;
}

/** The weight file of a folder, or its parts. */
async function weightFiles(folder: string, variant: string | undefined): Promise<string[]> {
  const there = await readdir(folder);
  const name = (kind?: string) => `${weightsName}${kind === undefined ? '' : `.${kind}`}.safetensors`;
  const inParts = `${name(variant)}.index.json`;
  if (there.includes(name(variant))) return [join(folder, name(variant))];
  if (there.includes(inParts)) return partsOf(folder, inParts);
  const variants = there.filter((file) => /^diffusion_pytorch_model\.[^.]+\.safetensors$/.test(file));
  if (variant === undefined && variants.length === 1) return [join(folder, variants[0] as string)];
  const hint = there.some((file) => file.endsWith('.bin')) ? '; a .bin file must be saved anew by diffusers as safetensors' : '';
  const found = variants.length > 0 ? `; there are ${variants.join(', ')}: name one by option 'variant'` : hint;
  throw new FileFormatError(`'${folder}' has no ${name(variant)}${found}`);
}

async function partsOf(folder: string, index: string): Promise<string[]> {
  const json = (await readJson(join(folder, index))) as { weight_map?: Record<string, unknown> } | null;
  const parts = [...new Set(Object.values(json?.weight_map ?? {}))];
  if (parts.length === 0 || !parts.every((part) => typeof part === 'string' && /^[^/\\]+\.safetensors$/.test(part)))
    throw new FileFormatError(`'${join(folder, index)}': weight_map must name .safetensors files of its folder`);
  return parts.map((part) => join(folder, part as string));
}

/** Bytes that may wait for the device while the next tensors are read. */
const pendingBytes = 1 << 26;

async function loadWeights(
  file: string,
  tensors: ReadonlyMap<string, SafetensorsTensor>,
  parameters: ReadonlyMap<string, Parameter>,
): Promise<void> {
  const names = (list: string[]) => `${list.slice(0, 5).join(', ')}${list.length > 5 ? ` and ${list.length - 5} more` : ''}`;
  const missing = [...parameters.keys()].filter((name) => !tensors.has(name));
  if (missing.length > 0) throw new FileFormatError(`'${file}' lacks ${names(missing)}`);
  const unexpected = [...tensors.keys()].filter((name) => !parameters.has(name));
  if (unexpected.length > 0)
    throw new FileFormatError(`'${file}' has tensors that its config.json has no place for: ${names(unexpected)}`);
  for (const [name, { shape }] of parameters) {
    const found = (tensors.get(name) as SafetensorsTensor).shape;
    if (found.length !== shape.length || found.some((axis, i) => axis !== shape[i]))
      throw new FileFormatError(`'${file}': tensor '${name}' must have shape [${shape}], got [${found}]`);
  }
  let pending = 0;
  for (const [name, parameter] of parameters) {
    const values = await (tensors.get(name) as SafetensorsTensor).float32();
    parameter.write(values);
    pending += values.byteLength;
    if (pending < pendingBytes) continue;
    await parameter.device.synchronize();
    pending = 0;
  }
  await [...parameters.values()][0]?.device.synchronize();
}

function newName(name: string): string {
  return name.replace(
    /(\.attentions\.\d+\.)(query|key|value|proj_attn)\./,
    (_, front, old: keyof typeof oldAttentionNames) => `${front}${oldAttentionNames[old]}.`,
  );
}

async function kindOf(path: string): Promise<'file' | 'folder' | null> {
  try {
    return (await stat(path)).isDirectory() ? 'folder' : 'file';
  } catch (error) {
    if (isSystemError(error) && (error.code === 'ENOENT' || error.code === 'ENOTDIR')) return null;
    throw new FileFormatError(`cannot read '${path}': ${(error as Error).message}`, { cause: error });
  }
}
