import { Parameter } from '../autograd/parameter.js';
import type { Device } from '../device.js';
import { DeviceMismatchError, DisposedError, DTypeError, OptionError, ShapeError } from '../errors.js';
import type { DType } from '../native.js';
import { show } from '../options.js';
import { Tensor } from '../tensor.js';

/** A tensor, or a parameter that stands for its value. */
export type TensorLike = Tensor | Parameter;

/** Element types of the arithmetic. */
export type FloatType = 'f32' | 'bf16';

const f32Only: readonly DType[] = ['f32'];

/** The tensor of an argument, checked: a live Tensor of this element type. Errors name the operation and the argument. */
export function asTensor(operation: string, argument: string, value: TensorLike, ...dtypes: DType[]): Tensor {
  const tensor = asLive(operation, argument, value);
  const accepted = dtypes.length > 0 ? dtypes : f32Only;
  if (!accepted.includes(tensor.dtype)) throw wrongType(operation, argument, tensor, accepted.join(' or '));
  return tensor;
}

/**
 * A tensor that an operation computes on: f32, or bf16 where the device has it. With `like` it must hold the same as that one.
 * Throws a DTypeError naming the argument, or the device and its instruction set.
 */
export function asFloat(operation: string, argument: string, value: TensorLike, like?: Tensor): Tensor {
  const tensor = asLive(operation, argument, value);
  if (like && tensor.dtype !== like.dtype) throw wrongType(operation, argument, tensor, `${like.dtype} as the first tensor does`);
  if (tensor.dtype === 'f32') return tensor;
  if (tensor.dtype !== 'bf16') throw wrongType(operation, argument, tensor, 'f32 or bf16');
  const { info } = tensor.device;
  if (!info.bf16)
    throw new DTypeError(
      `${operation}: ${argument} holds bf16, in which ${info.id} (${info.isa ?? info.name}) cannot compute; cast it to f32`,
    );
  return tensor;
}

/** A weight for inputs like `like`: of a parameter its value, or for bf16 inputs the copy in bf16. */
export function asWeight(operation: string, argument: string, value: TensorLike, like: Tensor): Tensor {
  if (like.dtype === 'f32' || !(value instanceof Parameter)) return asFloat(operation, argument, value, like);
  asLive(operation, argument, value);
  return value.as('bf16');
}

function wrongType(operation: string, argument: string, { dtype }: Tensor, expected: string): DTypeError {
  return new DTypeError(`${operation}: ${argument} must hold ${expected}, got ${dtype}`);
}

function asLive(operation: string, argument: string, value: TensorLike): Tensor {
  const tensor = value instanceof Parameter ? value.value : value;
  if (!(tensor instanceof Tensor)) throw new OptionError(`${operation}: ${argument} must be a Tensor, got ${show(value)}`);
  if (tensor.disposed) throw new DisposedError(`${operation}: ${argument} has been disposed`);
  if (tensor.device.closed) throw new DisposedError(`${operation}: ${argument} is on a device that is closed`);
  return tensor;
}

/** `asTensor`, f32, for an argument that may be left out. */
export function optionalTensor(operation: string, argument: string, value: TensorLike | null | undefined): Tensor | null {
  return value == null ? null : asTensor(operation, argument, value);
}

/** `asFloat` for an argument that may be left out. */
export function optionalFloat(
  operation: string,
  argument: string,
  value: TensorLike | null | undefined,
  like: Tensor,
): Tensor | null {
  return value == null ? null : asFloat(operation, argument, value, like);
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
