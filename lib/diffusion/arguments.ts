import * as v from 'valibot';
import type { Device } from '../device.js';
import { DeviceMismatchError, OptionError, ShapeError } from '../errors.js';
import type { DType } from '../native.js';
import { asTensor, expectShape } from '../ops/check.js';
import { show } from '../options.js';
import { noRng, type Rng, type Seed, toRng } from '../random.js';
import { Tensor } from '../tensor.js';

/** One 0-based step of the schedule for each sample; a Tensor is i32 [N]. */
export type Timesteps = Int32Array | readonly number[] | Tensor;

/** Class labels, one for each sample, -1 for no class; a Tensor is i32 [N]. */
export type Labels = Int32Array | readonly number[] | Tensor;

/** Where noise comes from: given, or drawn as a function of (seed, stream, first sample + index in the batch, step, element). */
export interface NoiseOptions {
  /** Standard normal values in the shape of the images, instead of drawing. */
  noise?: Tensor;
  /** Left out: the device's own stream, which advances at every draw. */
  seed?: Seed;
  /** Separates draws of one seed; each method has its own default. */
  stream?: number;
  /** Separates draws of one seed and stream, in a loop; 0. */
  step?: number;
  /** Number of the batch's first sample within the seed; 0. */
  firstSample?: number;
}

/** Entries of a strict schema for `NoiseOptions`; the values are checked where they are used. */
export const noiseEntries = {
  noise: v.optional(v.unknown()),
  seed: v.optional(v.unknown()),
  stream: v.optional(v.unknown()),
  step: v.optional(v.unknown()),
  firstSample: v.optional(v.unknown()),
};

/** A live tensor on this device, f32 unless other types are named. Errors name the operation and the argument. */
export function tensorOn(device: Device, operation: string, argument: string, value: unknown, ...dtypes: DType[]): Tensor {
  const tensor = asTensor(operation, argument, value as Tensor, ...dtypes);
  if (tensor.device !== device)
    throw new DeviceMismatchError(
      `${operation}: ${argument} is on another device ('${tensor.device.info.id}') than the process ('${device.info.id}')`,
    );
  return tensor;
}

/** A live tensor on the device and of the shape of `like`. */
export function tensorLike(like: Tensor, operation: string, argument: string, value: unknown): Tensor {
  const tensor = tensorOn(like.device, operation, argument, value);
  expectShape(operation, argument, tensor, like.shape);
  return tensor;
}

/**
 * The steps of a batch as a new i32 handle [batch] that the caller disposes. Numbers are checked against [0, T) at once; those of
 * a tensor when the operation runs.
 */
export function timestepsOf(device: Device, operation: string, t: Timesteps, batch: number, T: number): Tensor {
  return integersOf(device, operation, 't', t, batch, [0, T - 1]);
}

/** Labels as a new i32 handle [batch] that the caller disposes; numbers are -1, no class, or more. */
export function labelsOf(device: Device, operation: string, labels: Labels, batch: number): Tensor {
  return integersOf(device, operation, 'labels', labels, batch, [-1, 2 ** 31 - 1]);
}

function integersOf(
  device: Device,
  operation: string,
  argument: string,
  values: unknown,
  batch: number,
  [first, last]: readonly [number, number],
): Tensor {
  if (values instanceof Tensor) {
    const tensor = tensorOn(device, operation, argument, values, 'i32');
    expectShape(operation, argument, tensor, [batch]);
    return tensor.alias();
  }
  if (!(values instanceof Int32Array || Array.isArray(values)))
    throw new OptionError(
      `${operation}: ${argument} must be an Int32Array, an array of integers or an i32 Tensor, got ${show(values)}`,
    );
  if (values.length !== batch)
    throw new ShapeError(`${operation}: ${argument} must hold one value for each of ${batch} samples, got ${values.length}`);
  const wrong = values.findIndex((value) => !Number.isInteger(value) || value < first || value > last);
  if (wrong >= 0)
    throw new OptionError(
      `${operation}: ${argument}[${wrong}] must be an integer between ${first} and ${last}, got ${show(values[wrong])}`,
    );
  return device.tensor(Int32Array.from(values), [batch]);
}

/** The noise given for images like these, if any, and the generator: of the options, or idle where nothing `draws`. */
export function noiseSource(
  operation: string,
  like: Tensor,
  { noise, stream, ...options }: NoiseOptions,
  defaultStream: number,
  draws: boolean,
): { noise: Tensor | null; rng: Rng } {
  const given = noise === undefined ? null : tensorLike(like, operation, 'noise', noise);
  const wanted = { ...options, stream: stream ?? defaultStream };
  if (draws) return { noise: given, rng: toRng(operation, like.device, wanted) };
  toRng(operation, like.device, { ...wanted, seed: options.seed ?? 0 }); // wrong options are refused all the same
  return { noise: given, rng: noRng };
}
