import type { Device } from '../device.js';
import { DeviceMismatchError, DTypeError, OptionError, ShapeError } from '../errors.js';
import { asTensor, expectShape, type TensorLike } from '../ops/check.js';
import { show } from '../options.js';
import { Tensor } from '../tensor.js';
import { classesOf, timeWidthOf, type UNet2DConfig } from './unetConfig.js';

/** Steps of the diffusion process, one for each sample: whole or fractional. A Tensor is i32 or f32 [N]. */
export type ModelTimesteps = Int32Array | Float32Array | readonly number[] | Tensor;

/**
 * One label for each sample: a class from 0 on, or −1 for none. A Tensor is i32 [N]. With `classEmbedType` 'timestep' they may be
 * fractional (f32), with 'identity' they are a Tensor f32 [N, D].
 */
export type ModelLabels = Int32Array | Float32Array | readonly number[] | Tensor;

const owner = 'UNet.forward';

/** A live f32 tensor [N, H, W, inChannels] on this device whose size can be halved once a level. */
export function checkImages(device: Device, config: UNet2DConfig, xt: TensorLike): Tensor {
  const images = onDevice(device, 'xt', asTensor(owner, 'xt', xt));
  if (images.shape.length !== 4 || images.shape[3] !== config.in_channels)
    throw new ShapeError(`${owner}: xt must have shape [N, H, W, ${config.in_channels}], got [${images.shape}]`);
  const factor = 2 ** (config.block_out_channels.length - 1);
  const [, h, w] = images.shape as [number, number, number, number];
  if (h % factor !== 0 || w % factor !== 0)
    throw new ShapeError(`${owner}: height and width of xt must be divisible by ${factor}, got [${images.shape}]`);
  return images;
}

/** The steps as a tensor [N], i32 where they are rows of a table; a new one belongs to the open scope. */
export function timestepTensor(device: Device, config: UNet2DConfig, t: ModelTimesteps, batch: number): Tensor {
  return stepLike(device, config, 't', t, batch);
}

/** What a network is told of the class, or null where it is told nothing; a new tensor belongs to the open scope. */
export function labelTensor(
  device: Device,
  config: UNet2DConfig,
  labels: ModelLabels | null | undefined,
  batch: number,
): Tensor | null {
  const { class_embed_type: type } = config;
  const classes = classesOf(config);
  if (type === null && classes === null) {
    if (labels == null) return null;
    throw new OptionError(`${owner}: option 'labels' must be left out: the network has no classes (numClasses 0)`);
  }
  const what = type === null ? `the network has ${classes} classes` : `the network's classEmbedType is '${type}'`;
  if (labels == null) throw new OptionError(`${owner}: option 'labels' is required: ${what}`);
  if (type === 'timestep') return stepLike(device, config, 'labels', labels, batch);
  if (type === 'identity') {
    const tensor = onDevice(device, 'labels', asTensor(owner, 'labels', labels as Tensor));
    expectShape(owner, 'labels', tensor, [batch, timeWidthOf(config)]);
    return tensor;
  }
  if (labels instanceof Tensor) return given(device, 'labels', labels, batch, 'i32');
  checkList('labels', labels, batch, labels instanceof Int32Array, 'an Int32Array');
  checkIntegers('labels', labels as readonly number[], -1, (classes as number) - 1);
  return device.tensor(Int32Array.from(labels), [batch]);
}

function stepLike(device: Device, config: UNet2DConfig, argument: string, values: ModelTimesteps, batch: number): Tensor {
  const rows = config.time_embedding_type === 'learned' ? config.num_train_timesteps : null;
  if (values instanceof Tensor) return given(device, argument, values, batch, 'i32', ...(rows === null ? ['f32' as const] : []));
  const typed = values instanceof Int32Array || values instanceof Float32Array;
  checkList(argument, values, batch, typed, 'an Int32Array, a Float32Array');
  if (rows !== null) {
    checkIntegers(argument, values as readonly number[], 0, rows - 1);
    return device.tensor(Int32Array.from(values), [batch]);
  }
  const wrong = (values as readonly number[]).findIndex((step) => !Number.isFinite(step));
  if (wrong >= 0) throw new OptionError(`${owner}: ${argument}[${wrong}] must be a finite number, got ${show(values[wrong])}`);
  return device.tensor(values instanceof Int32Array ? values : Float32Array.from(values), [batch]);
}

function checkIntegers(argument: string, values: readonly number[], least: number, most: number): void {
  const wrong = values.findIndex((value) => !Number.isInteger(value) || value < least || value > most);
  if (wrong < 0) return;
  const expected = `an integer between ${least} and ${most}`;
  throw new OptionError(`${owner}: ${argument}[${wrong}] must be ${expected}, got ${show(values[wrong])}`);
}

function given(device: Device, argument: string, value: Tensor, batch: number, ...dtypes: ('i32' | 'f32')[]): Tensor {
  const tensor = onDevice(device, argument, asTensor(owner, argument, value, ...dtypes));
  expectShape(owner, argument, tensor, [batch]);
  return tensor;
}

function onDevice(device: Device, argument: string, tensor: Tensor): Tensor {
  if (tensor.device !== device)
    throw new DeviceMismatchError(`${owner}: ${argument} is on another device ('${tensor.device.info.id}') than the network`);
  return tensor;
}

function checkList(argument: string, values: unknown, batch: number, typed: boolean, kinds: string): void {
  if (!typed && !Array.isArray(values))
    throw new DTypeError(`${owner}: ${argument} must be ${kinds}, an array of numbers or a Tensor, got ${show(values)}`);
  const { length } = values as ArrayLike<number>;
  if (length !== batch)
    throw new ShapeError(`${owner}: ${argument} must hold one value for each of ${batch} samples, got ${length}`);
}
