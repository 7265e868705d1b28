import type { Device } from '../device.js';
import { readModelFiles } from '../files/diffusers.js';
import { Weights, type WeightTensor } from '../files/weights.js';
import type { FloatType } from '../ops/check.js';
import { checkPath, parseOptions } from '../options.js';
import { openAiNetwork } from './openaiConfig.js';
import { type OpenAiTensor, openAiTensors } from './openaiKeys.js';
import type { OpenAiOptions } from './openaiOptions.js';
import { ParameterStore } from './parameters.js';
import { loadSchema, type UNetLoadOptions } from './unetArguments.js';
import type { UNet2DConfig } from './unetConfig.js';
import { unetLayers } from './unetLayers.js';
import { checkComputeType, checkDevice, type UNetOptions } from './unetOptions.js';
import { optionsOf } from './unetTranslation.js';

/** A network on disk whose weights have been found to be those of its configuration, but have not been read. */
export interface StoredNetwork {
  config: UNet2DConfig;
  /** The options that come nearest. */
  options: UNetOptions;
  /** By the names of the parameters. */
  weights: Weights;
}

/** Arguments and errors are those of `UNet.load`. Nothing is allocated on the device. */
export async function storedNetwork(device: Device, path: string, options: UNetLoadOptions): Promise<StoredNetwork> {
  const { dtype, gradientCheckpointing, variant, config: given } = parseOptions('UNet.load', loadSchema, options);
  checkDevice('UNet.load', device);
  checkComputeType('UNet.load', device, dtype);
  checkPath('UNet.load', 'path', path);
  if (given !== undefined && isOpenAi(given)) {
    const { dtype: inArguments, use_checkpoint: checkpointed } = given;
    const overriding = { dtype: options.dtype ?? inArguments, use_checkpoint: gradientCheckpointing || checkpointed };
    return storedOpenAiNetwork(device, path, { ...given, ...overriding }, 'UNet.load');
  }
  const { config, weights } = await readModelFiles(path, { variant, config: given });
  weights.check((visit) => forEachParameter(config, visit));
  return { config, options: optionsOf(config, dtype as FloatType, gradientCheckpointing), weights };
}

/** Whether a configuration is OpenAI's arguments: one that they cannot do without is none of diffusers'. */
function isOpenAi(config: object): config is OpenAiOptions {
  return 'num_res_blocks' in config && !('layers_per_block' in config);
}

/** A network of OpenAI's; arguments and errors are those of `UNet.loadOpenAI`. Nothing is allocated on the device. */
export async function storedOpenAiNetwork(
  device: Device,
  path: string,
  options: OpenAiOptions,
  owner = 'UNet.loadOpenAI',
): Promise<StoredNetwork> {
  checkDevice(owner, device);
  checkPath(owner, 'path', path);
  const { config, gradientCheckpointing, dtype } = openAiNetwork(owner, options);
  checkComputeType(owner, device, dtype);
  const places = openAiTensors(options, owner);
  const file = await Weights.open([path]);
  file.check((visit) =>
    forEachParameter(config, (name, shape) => {
      const { from, shape: shapeThere } = places.get(name) as OpenAiTensor;
      visit(from, shapeThere(shape));
    }),
  );
  const tensors = Array.from(places, ([name, { from, take }]): [string, WeightTensor] => {
    const whole = file.tensors.get(from) as WeightTensor;
    return [name, { dtype: whole.dtype, shape: whole.shape, float32: async () => take(await whole.float32()) }];
  });
  return {
    config,
    options: optionsOf(config, dtype, gradientCheckpointing),
    weights: file.with(new Map(tensors)),
  };
}

function forEachParameter(config: UNet2DConfig, visit: (name: string, shape: readonly number[]) => void): void {
  ParameterStore.visit((declare) => unetLayers(declare, config, false), visit);
}
