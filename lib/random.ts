import type { Device } from './device.js';
import { DeviceMismatchError, DTypeError, OptionError } from './errors.js';
import { show } from './options.js';
import { Tensor } from './tensor.js';

/** A number of 0 to 2^53, or an i32 tensor of one to four elements: seed (low, high), step, first sample. */
export type Seed = number | Tensor;

/** Where random numbers come from, for a native operation: `fields` are its five numbers, `advance()` is called after it. */
export interface Rng {
  readonly fields: readonly [state: number, seed: number, stream: number, step: number, firstSample: number];
  advance(): void;
}

/** Options of everything that draws: numbers are a function of (seed, stream, sample, step, element). */
export interface RngOptions {
  /** Left out: the device's own stream, which advances at every draw. */
  seed?: Seed;
  /** Separates purposes under one seed; 0. */
  stream?: number;
  /** Separates draws of one seed and stream, in a loop; 0. */
  step?: number;
  /** Number of the batch's first sample within the seed; 0. */
  firstSample?: number;
}

const nothing = (): void => {};

/** No random numbers are drawn. */
export const noRng: Rng = { fields: [0, 0, 0, 0, 0], advance: nothing };

/** Without a seed the device's own stream is used and advances, at every call and at every replay of a recording. */
export function toRng(operation: string, device: Device, { seed, stream = 0, step = 0, firstSample = 0 }: RngOptions): Rng {
  for (const [name, value] of Object.entries({ stream, step, firstSample }))
    if (!Number.isInteger(value) || value < 0 || value > 0xffffffff)
      throw new OptionError(`${operation}: option '${name}' must be an integer between 0 and 4294967295, got ${show(value)}`);
  if (seed === undefined) {
    const state = device.seedState();
    const advance = () => device.native.advanceSeed(state.handle);
    return { fields: [state.handle, 0, stream, step, firstSample], advance };
  }
  if (seed instanceof Tensor) {
    if (seed.dtype !== 'i32' || seed.size > 4)
      throw new DTypeError(
        `${operation}: a seed tensor holds one to four i32 elements, got ${seed.dtype} of shape [${seed.shape}]`,
      );
    if (seed.device !== device) throw new DeviceMismatchError(`${operation}: the seed is on another device`);
    return { fields: [seed.handle, 0, stream, step, firstSample], advance: nothing };
  }
  if (!Number.isSafeInteger(seed) || seed < 0)
    throw new OptionError(`${operation}: option 'seed' must be an integer of at least 0 or an i32 tensor, got ${show(seed)}`);
  return { fields: [0, seed, stream, step, firstSample], advance: nothing };
}

/** A copy of the device's stream as it stands, for draws that must be repeatable later; the stream moves on. @internal */
export function snapshotSeed(device: Device): Tensor {
  const state = device.seedState();
  const copy = device.empty([4], 'i32');
  device.native.cast(state.handle, copy.handle);
  device.native.advanceSeed(state.handle);
  return copy;
}

/** Streams of the engine's own draws: one a purpose, so that no two share numbers under one seed. */
export const streams = {
  user: 0,
  noise: 16, // and 17 for the mirror bit of the noising kernel
  timesteps: 32,
  labelDropout: 48,
  initialSample: 64,
  samplerNoise: 65,
  weights: 128,
  dropout: 1024, // + index of the layer
} as const;
