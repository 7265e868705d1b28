import { stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Parameter } from '../autograd/parameter.js';
import { FileFormatError, OptionError } from '../errors.js';
import { parseConfig, type UNet2DConfig } from '../nn/unetConfig.js';
import { contradiction } from '../nn/unetContradiction.js';
import { show } from '../options.js';
import { isSystemError, makeFolders } from './atomic.js';
import { readJson, writeJson } from './json.js';
import { writeSafetensors } from './safetensors.js';
import { findWeightFiles, weightsName } from './weightFiles.js';
import { Weights } from './weights.js';

/** The version of diffusers whose format is written. */
export const diffusersVersion = '0.35.2';

const configName = 'config.json';

/** Names of diffusers up to 0.16 for the layers of an attention block. */
const oldAttentionNames = { query: 'to_q', key: 'to_k', value: 'to_v', proj_attn: 'to_out.0' } as const;

/** A model on disk whose configuration has been read and whose weights have been found. */
export interface ModelFiles {
  config: UNet2DConfig;
  weights: Weights;
}

/** What can be said about a model beside its path. */
export interface ModelFilesOptions {
  /** The weight file's, as in `diffusion_pytorch_model.fp16.safetensors`; without it the only file there is taken. */
  variant?: string | undefined;
  /** In the place of config.json. */
  config?: Readonly<Record<string, unknown>> | undefined;
}

/**
 * Finds and checks a UNet2DModel.
 * @param path a model folder, a pipeline folder (`unet/` in it, or all in one), or a weight file with config.json beside it
 * @throws FileFormatError naming the file and the key at fault.
 */
export async function readModelFiles(path: string, { variant, config }: ModelFilesOptions = {}): Promise<ModelFiles> {
  const kind = await kindOf(path);
  if (kind === null) throw new FileFormatError(`'${path}' does not exist`);
  if (kind === 'file' && basename(path) === configName)
    throw new FileFormatError(`'${path}' is neither a folder nor a file of weights`);
  const folder = kind === 'file' ? dirname(path) : await modelFolder(path, config !== undefined);
  const checked = config ? checkConfig("UNet.load: option 'config'", config) : await readConfig(join(folder, configName));
  const files = kind === 'file' ? [path] : await findWeightFiles(folder, variant);
  return { config: checked, weights: await Weights.open(files, newName) };
}

/** Where a model lies: in `unet` of a pipeline, or in the folder itself. */
async function modelFolder(path: string, hasConfig: boolean): Promise<string> {
  if (!hasConfig) return componentFolder(path, 'unet', configName);
  return (await kindOf(join(path, 'unet'))) === 'folder' ? join(path, 'unet') : path;
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
  await writeJson(join(folder, configName), { _class_name: 'UNet2DModel', _diffusers_version: diffusersVersion, ...config });
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

async function readConfig(path: string): Promise<UNet2DConfig> {
  const json = await readJson(path);
  try {
    return checkConfig(`'${path}'`, json);
  } catch (cause) {
    throw cause instanceof OptionError ? new FileFormatError(cause.message, { cause }) : cause;
  }
}

/**
 * Checks a configuration. Entries that are not known say nothing: newer versions of diffusers write them, and EMAModel its own.
 * @throws OptionError naming the source (a quoted path, say) and the key at fault.
 */
function checkConfig(source: string, json: unknown): UNet2DConfig {
  const fail = (what: string) => new OptionError(`${source}${what}`);
  if (json === null || typeof json !== 'object' || Array.isArray(json)) throw fail(` must hold an object, got ${show(json)}`);
  const className = (json as Record<string, unknown>)._class_name ?? 'UNet2DModel';
  if (className !== 'UNet2DModel') throw fail(`: _class_name must be 'UNet2DModel', got ${show(className)}`);
  let config: UNet2DConfig;
  try {
    config = parseConfig(source, json);
  } catch (cause) {
    throw new OptionError((cause as Error).message.replace(`${source}: option `, `${source}: key `), { cause });
  }
  const problem = contradiction(config);
  if (problem !== null) throw fail(`: ${problem}`);
  return config;
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
