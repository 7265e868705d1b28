import * as v from 'valibot';
import { Device } from '../device.js';
import { DisposedError, DTypeError, OptionError } from '../errors.js';
import type { FloatType } from '../ops/check.js';
import { boolean, integer, number, oneOf, parseOptions, positive, show } from '../options.js';
import type { Resampling } from './unetBlockNames.js';

/** Options of `new UNet`. */
export interface UNetOptions {
  /** Height and width of the images that it is meant for; 32. `forward` takes other sizes too. */
  imageSize?: number | readonly [height: number, width: number];
  /** 3 */
  inChannels?: number;
  /** `inChannels`; twice that where the variance is learned. */
  outChannels?: number;
  /** Channels of the first level, for a multiplier of 1; 128. */
  baseChannels?: number;
  /** Channels of each level as a multiple of `baseChannels`; each further level has half the size. [1, 2, 2, 2] */
  channelMults?: readonly number[];
  /** Residual blocks a level on the way down; one more on the way up. 2 */
  resBlocks?: number;
  /**
   * Image sizes at which attention follows each residual block; [16]. A level's size is the image's height halved once a level;
   * sizes that no level has count for nothing. The middle always has attention.
   */
  attentionResolutions?: readonly number[];
  /** Attention heads; 1. */
  heads?: number;
  /** Channels of a head, instead of `heads`. */
  headChannels?: number;
  /** Probability of dropping an element inside a residual block, in training; 0. */
  dropout?: number;
  /** How time enters the residual blocks: added, or as scale and shift of a normalisation. */
  timeEmbedding?: 'add' | 'scaleShift';
  /**
   * How the size changes: by a convolution; inside a residual block, on both its paths (Brock et al. 2019); or by average pooling
   * and nearest neighbour alone.
   */
  resample?: Resampling;
  /** Zeros before a convolution that halves the size: 1 all around, or 0 for one at the lower right only (Ho et al. 2020); 1. */
  downsamplePadding?: 0 | 1;
  /** Whether there is a middle at all; true. */
  midBlock?: boolean;
  /** Whether the middle has attention; true. */
  midAttention?: boolean;
  /** What each block of the middle gives is divided by this; 1. */
  midBlockScaleFactor?: number;
  /** Groups of the normalisation in the middle's attention; `groups`. With null and 'scaleShift' it has no normalisation. */
  attnNormGroups?: number | null;
  /** Sinusoids of the step, or a learned table with a row for each of `numTrainTimesteps`; 'positional'. */
  timeEmbeddingType?: 'positional' | 'learned';
  /** Rows of that table. */
  numTrainTimesteps?: number;
  /** Width of the time embedding; four times the first level's channels. */
  timeEmbeddingDim?: number;
  /** Sinusoids as [cos | sin]; true. Ho et al. 2020 have [sin | cos]. */
  flipSinToCos?: boolean;
  /** Taken off the denominator of the sinusoids' exponents; 0. In Ho et al. 2020 it is 1. */
  freqShift?: number;
  /** Whether the network reads 2x − 1; false. */
  centerInputSample?: boolean;
  /** Class labels 0 … numClasses − 1; 0: no classes. */
  numClasses?: number;
  /** Instead of `numClasses`: labels are embedded as steps are, or they are embeddings f32 [N, D]; null. */
  classEmbedType?: 'timestep' | 'identity' | null;
  /** Groups of the normalisations; min(32, baseChannels/4), or the next smaller number that divides all channels. */
  groups?: number;
  /** 1e-5 */
  normEps?: number;
  /** Seed of the initial weights; 0. */
  seed?: number;
  /** Element type of the arithmetic on images; 'f32'. Weights, gradients and what enters and leaves are f32 all the same. */
  dtype?: FloatType;
  /** Start the last layer of each block, and the network's, at zero (Ho et al. 2020; Dhariwal & Nichol 2021); true. */
  zeroInit?: boolean;
  /**
   * Compute the inside of each block again in the backward pass instead of keeping it (Chen et al. 2016): less memory, more time, the
   * same gradients; false.
   */
  gradientCheckpointing?: boolean;
}

const multText = 'an array of one or more positive numbers';
const isSize = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 1;
const isImageSize = (value: unknown) => isSize(value) || (Array.isArray(value) && value.length === 2 && value.every(isSize));
const schema = v.strictObject({
  imageSize: v.optional(v.custom<number | [number, number]>(isImageSize, 'a positive integer or [height, width]'), 32),
  inChannels: v.optional(integer(1), 3),
  outChannels: v.optional(integer(1)),
  baseChannels: v.optional(integer(1), 128),
  channelMults: v.optional(
    v.pipe(v.array(v.pipe(v.number(multText), v.gtValue(0, multText)), multText), v.minLength(1, multText)),
    () => [1, 2, 2, 2],
  ),
  resBlocks: v.optional(integer(1), 2),
  attentionResolutions: v.optional(v.array(integer(1), 'an array of image sizes'), () => [16]),
  heads: v.optional(integer(1)),
  headChannels: v.optional(integer(1)),
  dropout: v.optional(v.pipe(number(0, 1), v.ltValue(1, 'a number of at least 0 and below 1')), 0),
  timeEmbedding: v.optional(oneOf('add', 'scaleShift'), 'add'),
  resample: v.optional(oneOf('conv', 'resBlock', 'pool'), 'conv'),
  downsamplePadding: v.optional(v.picklist([0, 1], '0 or 1'), 1),
  midBlock: v.optional(boolean(), true),
  midAttention: v.optional(boolean(), true),
  midBlockScaleFactor: v.optional(positive(), 1),
  attnNormGroups: v.optional(v.nullable(integer(1))),
  timeEmbeddingType: v.optional(oneOf('positional', 'learned'), 'positional'),
  numTrainTimesteps: v.optional(integer(1)),
  timeEmbeddingDim: v.optional(integer(1)),
  flipSinToCos: v.optional(boolean(), true),
  freqShift: v.optional(number(), 0),
  centerInputSample: v.optional(boolean(), false),
  numClasses: v.optional(integer(0), 0),
  classEmbedType: v.optional(v.nullable(oneOf('timestep', 'identity')), null),
  groups: v.optional(integer(1)),
  normEps: v.optional(number(0), 1e-5),
  seed: v.optional(integer(0), 0),
  dtype: v.optional(oneOf('f32', 'bf16'), 'f32'),
  zeroInit: v.optional(boolean(), true),
  gradientCheckpointing: v.optional(boolean(), false),
});

/** Options with the defaults filled in. */
export type CheckedOptions = v.InferOutput<typeof schema> & { outChannels: number; groups: number };

/** Throws OptionError or DTypeError for what cannot be built on this device. */
export function checkUNetOptions(owner: string, device: Device, options: UNetOptions | undefined): CheckedOptions {
  checkDevice(owner, device);
  const checked = parseOptions(owner, schema, options);
  checkComputeType(owner, device, checked.dtype);
  const { imageSize, baseChannels, channelMults, heads, headChannels } = checked;
  const fail = (option: string, expected: string, got: unknown): never => {
    throw new OptionError(`${owner}: option '${option}' must be ${expected}, got ${show(got)}`);
  };
  const factor = 2 ** (channelMults.length - 1);
  if ([imageSize].flat().some((size) => size % factor !== 0))
    fail('imageSize', `divisible by ${factor}, the reduction of ${channelMults.length} levels`, imageSize);
  const channels = channelMults.map((mult) => mult * baseChannels);
  if (!channels.every(Number.isInteger)) fail('channelMults', `whole channels when multiplied by ${baseChannels}`, channelMults);
  if (heads !== undefined && headChannels !== undefined) fail('headChannels', 'left out where heads is given', headChannels);
  if (checked.classEmbedType !== null && checked.numClasses > 0)
    fail('classEmbedType', 'null where numClasses is given', checked.classEmbedType);
  if ((checked.timeEmbeddingType === 'learned') !== (checked.numTrainTimesteps !== undefined))
    fail('numTrainTimesteps', "given where timeEmbeddingType is 'learned', and only there", checked.numTrainTimesteps);
  const groups = checked.groups ?? defaultGroups(baseChannels, channels);
  if (channels.some((count) => count % groups !== 0)) fail('groups', `a divisor of the channels ${channels}`, groups);
  return { ...checked, outChannels: checked.outChannels ?? checked.inChannels, groups };
}

/** Throws OptionError unless this is a device, DisposedError when it is closed. */
export function checkDevice(owner: string, device: unknown): asserts device is Device {
  if (!(device instanceof Device)) throw new OptionError(`${owner}: device must be a Device, got ${show(device)}`);
  if (device.closed) throw new DisposedError(`${owner}: device '${device.info.id}' is closed`);
}

/** Throws DTypeError when the device cannot compute in this type, OptionError when there is no such type. */
export function checkComputeType(owner: string, device: Device, dtype: unknown): asserts dtype is FloatType {
  if (dtype !== 'f32' && dtype !== 'bf16')
    throw new OptionError(`${owner}: option 'dtype' must be 'f32' or 'bf16', got ${show(dtype)}`);
  if (dtype === 'bf16' && !device.info.bf16)
    throw new DTypeError(
      `${owner}: dtype 'bf16' is not available on ${device.info.id} (${device.info.isa ?? device.info.name}); use 'f32'`,
    );
}

function defaultGroups(baseChannels: number, channels: readonly number[]): number {
  let groups = Math.max(1, Math.min(32, Math.floor(baseChannels / 4)));
  while (channels.some((count) => count % groups !== 0)) groups--;
  return groups;
}
