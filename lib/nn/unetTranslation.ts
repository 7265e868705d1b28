import { OptionError } from '../errors.js';
import type { FloatType } from '../ops/check.js';
import { classesOf, type UNet2DConfig } from './unetConfig.js';
import { contradiction } from './unetContradiction.js';
import { attendsAt, downKind, headChannelsAt, levelEntries } from './unetLevels.js';
import type { CheckedOptions, UNetOptions } from './unetOptions.js';

/** The configuration of diffusers that is the same network. */
export function configOf(owner: string, options: CheckedOptions): UNet2DConfig {
  const { imageSize, channelMults, baseChannels, groups, attnNormGroups } = options;
  const height = Array.isArray(imageSize) ? imageSize[0] : imageSize;
  const attends = channelMults.map((_, level) => options.attentionResolutions.includes(height / 2 ** level));
  const scaleShift = options.timeEmbedding === 'scaleShift';
  const config: UNet2DConfig = {
    sample_size: imageSize,
    in_channels: options.inChannels,
    out_channels: options.outChannels,
    center_input_sample: options.centerInputSample,
    time_embedding_type: options.timeEmbeddingType,
    time_embedding_dim: options.timeEmbeddingDim ?? null,
    freq_shift: options.freqShift,
    flip_sin_to_cos: options.flipSinToCos,
    ...levelEntries(attends, options.resample),
    mid_block_type: options.midBlock ? 'UNetMidBlock2D' : null,
    block_out_channels: channelMults.map((mult) => mult * baseChannels),
    layers_per_block: options.resBlocks,
    mid_block_scale_factor: options.midBlockScaleFactor,
    downsample_padding: options.downsamplePadding,
    dropout: options.dropout,
    act_fn: 'silu',
    attention_head_dim: null,
    norm_num_groups: groups,
    attn_norm_num_groups: attnNormGroups === undefined && scaleShift ? groups : (attnNormGroups ?? null),
    norm_eps: options.normEps,
    resnet_time_scale_shift: scaleShift ? 'scale_shift' : 'default',
    add_attention: options.midAttention,
    class_embed_type: options.classEmbedType,
    num_class_embeds: options.numClasses || null,
    num_train_timesteps: options.numTrainTimesteps ?? null,
  };
  config.attention_head_dim = headDimensions(owner, config, options);
  const problem = contradiction(config);
  if (problem !== null) throw new OptionError(`${owner}: ${problem}`);
  return config;
}

/**
 * Channels of a head for so many heads, or `headChannels`: one number where it is the same at every level with attention, else one a
 * level (which diffusers rejects). Throws OptionError where they do not divide the channels.
 */
function headDimensions(owner: string, config: UNet2DConfig, { heads = 1, headChannels }: CheckedOptions) {
  const channels = config.block_out_channels;
  const used = channels.filter((_, level) => attendsAt(config, level));
  const [option, divisor] = headChannels === undefined ? ['heads', heads] : ['headChannels', headChannels];
  if (used.some((count) => count % divisor !== 0))
    throw new OptionError(`${owner}: option '${option}' must be a divisor of the attention's channels ${used}, got ${divisor}`);
  return headChannels ?? headDimensionsOf(config, heads);
}

/** `attention_head_dim` for so many heads at every level. */
export function headDimensionsOf(config: UNet2DConfig, heads: number): number | number[] | null {
  const channels = config.block_out_channels;
  const used = channels.filter((_, level) => attendsAt(config, level));
  if (heads === 1) return null;
  if (used.length > 0 && used.every((count) => count === used[0])) return (used[0] as number) / heads;
  return channels.map((count) => Math.max(1, Math.floor(count / heads)));
}

/** The options that come nearest to a configuration, to compute in `dtype`: all of it, for one that options made. */
export function optionsOf(config: UNet2DConfig, dtype: FloatType, gradientCheckpointing = false): UNetOptions {
  const [baseChannels] = config.block_out_channels as [number];
  const imageSize = config.sample_size ?? undefined;
  const height = Array.isArray(imageSize) ? imageSize[0] : imageSize;
  const levels = config.block_out_channels.map((_, level) => downKind(config, level));
  const attending = levels.flatMap(({ attends }, level) => (attends ? [level] : []));
  const last = config.block_out_channels.length - 1;
  const dims = config.attention_head_dim;
  const scaleShift = config.resnet_time_scale_shift === 'scale_shift';
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
    timeEmbedding: scaleShift ? 'scaleShift' : 'add',
    resample: levels[0]?.resample ?? 'conv',
    downsamplePadding: config.downsample_padding,
    midBlock: config.mid_block_type !== null,
    midAttention: config.add_attention,
    midBlockScaleFactor: config.mid_block_scale_factor,
    attnNormGroups: config.attn_norm_num_groups,
    timeEmbeddingType: config.time_embedding_type,
    ...(config.time_embedding_type === 'learned' && { numTrainTimesteps: config.num_train_timesteps ?? undefined }),
    ...(config.time_embedding_dim !== null && { timeEmbeddingDim: config.time_embedding_dim }),
    flipSinToCos: config.flip_sin_to_cos,
    freqShift: config.freq_shift,
    centerInputSample: config.center_input_sample,
    numClasses: classesOf(config) ?? 0,
    classEmbedType: config.class_embed_type,
    groups: config.norm_num_groups,
    normEps: config.norm_eps,
    dtype,
    gradientCheckpointing,
  };
}
