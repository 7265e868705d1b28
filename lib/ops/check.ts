import { Parameter } from '../autograd/parameter.js';
import type { Device } from '../device.js';
import { DeviceMismatchError, DisposedError, DTypeError, OptionError, ShapeError } from '../errors.js';
import type { DType } from '../native.js';
import { show } from '../options.js';
import { Tensor } from '../tensor.js';

/** A tensor, or a parameter that stands for its value. */
export type TensorLike = Tensor | Parameter;

const f32Only: readonly DType[] = ['f32'];

/** The tensor of an argument, checked: a live Tensor of this element type. Errors name the operation and the argument. */
export function asTensor(operation: string, argument: string, value: TensorLike, ...dtypes: DType[]): Tensor {
  const tensor = value instanceof Parameter ? value.value : value;
  if (!(tensor instanceof Tensor)) throw new OptionError(`${operation}: ${argument} must be a Tensor, got ${show(value)}`);
  if (tensor.disposed) throw new DisposedError(`${operation}: ${argument} has been disposed`);
  if (tensor.device.closed) throw new DisposedError(`${operation}: ${argument} is on a device that is closed`);
  const accepted = dtypes.length > 0 ? dtypes : f32Only;
  if (!accepted.includes(tensor.dtype))
    throw new DTypeError(`${operation}: ${argument} must hold ${accepted.join(' or ')}, got ${tensor.dtype}`);
  return tensor;
}

/** The same for an argument that may be left out. */
export function optionalTensor(operation: string, argument: string, value: TensorLike | null | undefined): Tensor | null {
  return value == null ? null : asTensor(operation, argument, value);
}

/** Throws DeviceMismatchError unless all tensors are on one device, and returns it. */
export function oneDevice(operation: string, tensors: Record<string, Tensor | null | undefined>): Device {
  let first: Device | undefined;
  for (const argument in tensors) {
    const tensor = tensors[argument];
    if (!tensor) continue;
    first ??= tensor.device;
    if (tensor.device !== first)
      throw new DeviceMismatchError(`${operation}: ${argument} is on another device ('${tensor.device.info.id}') than the rest`);
  }
  if (!first) throw new OptionError(`${operation}: no tensor given`);
  return first;
}

/** Throws ShapeError unless the tensor has exactly this shape. */
export function expectShape(operation: string, argument: string, tensor: Tensor, shape: readonly number[]): void {
  let same = tensor.shape.length === shape.length;
  for (let i = 0; same && i < shape.length; i++) same = tensor.shape[i] === shape[i];
  if (!same) throw new ShapeError(`${operation}: ${argument} must have shape [${shape}], got [${tensor.shape}]`);
}

/** Throws ShapeError unless the tensor has this many axes. */
export function expectRank(operation: string, argument: string, tensor: Tensor, rank: number): void {
  if (tensor.shape.length !== rank)
    throw new ShapeError(`${operation}: ${argument} must have ${rank} axes, got shape [${tensor.shape}]`);
}

/** The last axis. */
export function channelsOf(tensor: Tensor): number {
  return tensor.shape[tensor.shape.length - 1] as number;
}
