import type { Device } from '../device.js';
import { DeviceMismatchError, DTypeError, OptionError, ShapeError } from '../errors.js';
import { asTensor, expectShape, type TensorLike } from '../ops/check.js';
import { show } from '../options.js';
import { Tensor } from '../tensor.js';
import type { UNet2DConfig } from './unetConfig.js';

/** Steps of the diffusion process, one for each sample: whole or fractional. A Tensor is i32 or f32 [N]. */
export type ModelTimesteps = Int32Array | Float32Array | readonly number[] | Tensor;

/** Class labels, one for each sample. A Tensor is i32 [N]. */
export type ModelLabels = Int32Array | readonly number[] | Tensor;

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

/** The steps as a tensor [N]; a new one belongs to the open scope. */
export function timestepTensor(device: Device, t: ModelTimesteps, batch: number): Tensor {
  if (t instanceof Tensor) return given(device, 't', t, batch, 'i32', 'f32');
  checkList('t', t, batch, t instanceof Int32Array || t instanceof Float32Array, 'an Int32Array, a Float32Array');
  const wrong = (t as readonly number[]).findIndex((step) => !Number.isFinite(step));
  if (wrong >= 0) throw new OptionError(`${owner}: t[${wrong}] must be a finite number, got ${show(t[wrong])}`);
  return device.tensor(t instanceof Int32Array ? t : Float32Array.from(t), [batch]);
}

/** The labels as a tensor i32 [N], or null where the network has no classes; a new one belongs to the open scope. */
export function labelTensor(
  device: Device,
  { num_class_embeds: classes }: UNet2DConfig,
  labels: ModelLabels | null | undefined,
  batch: number,
): Tensor | null {
  if (classes === null) {
    if (labels == null) return null;
    throw new OptionError(`${owner}: option 'labels' must be left out: the network has no classes (numClasses 0)`);
  }
  if (labels == null) throw new OptionError(`${owner}: option 'labels' is required: the network has ${classes} classes`);
  if (labels instanceof Tensor) return given(device, 'labels', labels, batch, 'i32');
  checkList('labels', labels, batch, labels instanceof Int32Array, 'an Int32Array');
  const wrong = (labels as readonly number[]).findIndex((label) => !Number.isInteger(label) || label < 0 || label >= classes);
  if (wrong >= 0)
    throw new OptionError(
      `${owner}: labels[${wrong}] must be an integer between 0 and ${classes - 1}, got ${show(labels[wrong])}`,
    );
  return device.tensor(Int32Array.from(labels), [batch]);
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
