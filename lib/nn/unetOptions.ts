import * as v from 'valibot';
import { Device } from '../device.js';
import { DisposedError, DTypeError, OptionError } from '../errors.js';
import type { FloatType } from '../ops/check.js';
import { boolean, integer, number, oneOf, parseOptions, show } from '../options.js';
import { contradiction, headChannelsAt, type UNet2DConfig } from './unetConfig.js';

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
  /** How the size changes: by convolution. */
  resample?: 'conv';
  /** Class labels 0 … numClasses − 1; 0: no classes. */
  numClasses?: number;
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
  resample: v.optional(oneOf('conv'), 'conv'),
  numClasses: v.optional(integer(0), 0),
  groups: v.optional(integer(1)),
  normEps: v.optional(number(0), 1e-5),
  seed: v.optional(integer(0), 0),
  dtype: v.optional(oneOf('f32', 'bf16'), 'f32'),
  zeroInit: v.optional(boolean(), true),
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

/** The configuration of diffusers that is the same network. */
export function configOf(owner: string, options: CheckedOptions): UNet2DConfig {
  const { imageSize, channelMults, baseChannels, groups } = options;
  const height = Array.isArray(imageSize) ? imageSize[0] : imageSize;
  const attends = channelMults.map((_, level) => options.attentionResolutions.includes(height / 2 ** level));
  const config: UNet2DConfig = {
    sample_size: imageSize,
    in_channels: options.inChannels,
    out_channels: options.outChannels,
    center_input_sample: false,
    time_embedding_type: 'positional',
    time_embedding_dim: null,
    freq_shift: 0,
    flip_sin_to_cos: true,
    down_block_types: attends.map((attend) => (attend ? 'AttnDownBlock2D' : 'DownBlock2D')),
    mid_block_type: 'UNetMidBlock2D',
    up_block_types: attends.toReversed().map((attend) => (attend ? 'AttnUpBlock2D' : 'UpBlock2D')),
    block_out_channels: channelMults.map((mult) => mult * baseChannels),
    layers_per_block: options.resBlocks,
    mid_block_scale_factor: 1,
    downsample_padding: 1,
    downsample_type: 'conv',
    upsample_type: 'conv',
    dropout: options.dropout,
    act_fn: 'silu',
    attention_head_dim: null,
    norm_num_groups: groups,
    attn_norm_num_groups: options.timeEmbedding === 'scaleShift' ? groups : null,
    norm_eps: options.normEps,
    resnet_time_scale_shift: options.timeEmbedding === 'scaleShift' ? 'scale_shift' : 'default',
    add_attention: true,
    class_embed_type: null,
    num_class_embeds: options.numClasses || null,
    num_train_timesteps: null,
  };
  config.attention_head_dim = headDimensions(owner, options, config, attends);
  const problem = contradiction(config);
  if (problem !== null) throw new OptionError(`${owner}: ${problem}`);
  return config;
}

/** One number where it is the same at every level with attention, else one a level (which diffusers rejects). */
function headDimensions(owner: string, options: CheckedOptions, config: UNet2DConfig, attends: readonly boolean[]) {
  const { heads = 1, headChannels } = options;
  const channels = config.block_out_channels;
  const used = channels.filter((_, level) => attends[level] || level === channels.length - 1);
  const [option, divisor] = headChannels === undefined ? ['heads', heads] : ['headChannels', headChannels];
  if (used.some((count) => count % divisor !== 0))
    throw new OptionError(`${owner}: option '${option}' must be a divisor of the attention's channels ${used}, got ${divisor}`);
  if (headChannels !== undefined) return headChannels;
  if (heads === 1) return null;
  if (used.every((count) => count === used[0])) return (used[0] as number) / heads;
  return channels.map((count) => Math.max(1, Math.floor(count / heads)));
}

function defaultGroups(baseChannels: number, channels: readonly number[]): number {
  let groups = Math.max(1, Math.min(32, Math.floor(baseChannels / 4)));
  while (channels.some((count) => count % groups !== 0)) groups--;
  return groups;
}

/** The options that come nearest to a configuration, to compute in `dtype`: all of it, for one that options made. */
export function optionsOf(config: UNet2DConfig, dtype: FloatType): UNetOptions {
  const [baseChannels] = config.block_out_channels as [number];
  const imageSize = config.sample_size ?? undefined;
  const height = Array.isArray(imageSize) ? imageSize[0] : imageSize;
  const attending = config.down_block_types.flatMap((type, level) => (type === 'AttnDownBlock2D' ? [level] : []));
  const last = config.block_out_channels.length - 1;
  const dims = config.attention_head_dim;
  return {
    imageSize,
    inChannels: config.in_channels,
    outChannels: config.out_channels,
    baseChannels,
    channelMults: config.block_out_channels.map((channels) => channels / baseChannels),
    resBlocks: config.layers_per_block,
    attentionResolutions: height === undefined ? [] : attending.map((level) => height / 2 ** level),
    ...(dims === null && { heads: 1 }),
    ...(typeof dims === 'number' && { headChannels: dims }),
    ...(Array.isArray(dims) && { heads: (config.block_out_channels[last] as number) / headChannelsAt(config, last) }),
    dropout: config.dropout,
    timeEmbedding: config.resnet_time_scale_shift === 'scale_shift' ? 'scaleShift' : 'add',
    resample: 'conv',
    numClasses: config.num_class_embeds ?? 0,
    groups: config.norm_num_groups,
    normEps: config.norm_eps,
    dtype,
  };
}
