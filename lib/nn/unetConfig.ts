import * as v from 'valibot';
import { boolean, integer, number, oneOf } from '../options.js';

const sizes = v.union([integer(1), v.tuple([integer(1), integer(1)]), v.null()], 'a positive integer, [height, width] or null');
const downBlocks = oneOf('DownBlock2D', 'AttnDownBlock2D');
const upBlocks = oneOf('UpBlock2D', 'AttnUpBlock2D');
/** Very old files say UNetResDownBlock2D. */
const blockTypes = <S extends typeof downBlocks | typeof upBlocks>(type: S) =>
  v.array(
    v.pipe(
      v.string('a block name'),
      v.transform((name) => name.replace(/^UNetRes/, '')),
      type,
    ),
    'an array of block names',
  );
const headSizes = v.union(
  [integer(1), v.array(integer(1)), v.null()],
  'a positive integer, an array with one for each level, or null',
);

/**
 * The entries of diffusers' `UNet2DModel` configuration that this package computes, with that class's defaults. Values of
 * diffusers that are not accepted here are networks of another kind.
 */
export const configSchema = v.object({
  // Height and width of the images; only samplers read it.
  sample_size: v.optional(sizes, null),
  in_channels: v.optional(integer(1), 3),
  out_channels: v.optional(integer(1), 3),
  // The network reads 2x − 1.
  center_input_sample: v.optional(boolean(), false),
  time_embedding_type: v.optional(oneOf('positional'), 'positional'),
  // Width of the time embedding; null: four times the first level's channels.
  time_embedding_dim: v.optional(v.nullable(integer(1)), null),
  freq_shift: v.optional(number(), 0),
  flip_sin_to_cos: v.optional(boolean(), true),
  down_block_types: v.optional(blockTypes(downBlocks), () => [
    'DownBlock2D',
    'AttnDownBlock2D',
    'AttnDownBlock2D',
    'AttnDownBlock2D',
  ]),
  mid_block_type: v.optional(v.nullable(oneOf('UNetMidBlock2D')), 'UNetMidBlock2D'),
  up_block_types: v.optional(blockTypes(upBlocks), () => ['AttnUpBlock2D', 'AttnUpBlock2D', 'AttnUpBlock2D', 'UpBlock2D']),
  block_out_channels: v.optional(
    v.pipe(v.array(integer(1), 'an array of integers'), v.minLength(1, 'at least one level')),
    () => [224, 448, 672, 896],
  ),
  layers_per_block: v.optional(integer(1), 2),
  // Divides what the middle's blocks give.
  mid_block_scale_factor: v.optional(number(), 1),
  // 1: zeros all around before halving; 0: at the lower right only.
  downsample_padding: v.optional(v.picklist([0, 1], '0 or 1'), 1),
  downsample_type: v.optional(oneOf('conv', 'resnet'), 'conv'),
  upsample_type: v.optional(oneOf('conv', 'resnet'), 'conv'),
  dropout: v.optional(v.pipe(number(0, 1), v.ltValue(1, 'a number of at least 0 and below 1')), 0),
  act_fn: v.optional(oneOf('silu', 'swish'), 'silu'),
  // Channels of a head, everywhere or by level; null: one head.
  attention_head_dim: v.optional(headSizes, 8),
  norm_num_groups: v.optional(integer(1), 32),
  // Groups of the middle's attention; null: norm_num_groups, and no norm at all with scale_shift.
  attn_norm_num_groups: v.optional(v.nullable(integer(1)), null),
  norm_eps: v.optional(number(0), 1e-5),
  resnet_time_scale_shift: v.optional(oneOf('default', 'scale_shift'), 'default'),
  // Whether the middle has attention.
  add_attention: v.optional(boolean(), true),
  class_embed_type: v.optional(v.null('null'), null),
  num_class_embeds: v.optional(v.nullable(integer(1)), null),
  num_train_timesteps: v.optional(v.nullable(integer(1)), null),
});

/** A network, in the words of diffusers' `UNet2DModel`. */
export type UNet2DConfig = v.InferOutput<typeof configSchema>;

/** What is wrong with a configuration whose entries are each of the right kind, or null. */
export function contradiction(config: UNet2DConfig): string | null {
  const levels = config.block_out_channels.length;
  for (const key of ['down_block_types', 'up_block_types'] as const)
    if (config[key].length !== levels) return `${key} has ${config[key].length} entries, but block_out_channels has ${levels}`;
  const attends = (types: readonly string[]) => types.some((type) => type.startsWith('Attn'));
  if (config.downsample_type === 'resnet' && attends(config.down_block_types))
    return "downsample_type must be 'conv' where there are AttnDownBlock2D, got 'resnet'";
  if (config.upsample_type === 'resnet' && attends(config.up_block_types))
    return "upsample_type must be 'conv' where there are AttnUpBlock2D, got 'resnet'";
  const groups = config.norm_num_groups;
  const odd = config.block_out_channels.find((channels) => channels % groups !== 0);
  if (odd !== undefined) return `norm_num_groups ${groups} does not divide ${odd} channels`;
  const middle = config.block_out_channels[levels - 1] as number;
  if (config.attn_norm_num_groups !== null && middle % config.attn_norm_num_groups !== 0)
    return `attn_norm_num_groups ${config.attn_norm_num_groups} does not divide ${middle} channels`;
  const heads = config.attention_head_dim;
  if (Array.isArray(heads) && heads.length !== levels)
    return `attention_head_dim has ${heads.length} entries, but block_out_channels has ${levels}`;
  for (const [level, channels] of config.block_out_channels.entries()) {
    const dim = headChannelsAt(config, level);
    if (attendsAt(config, level) && dim > channels)
      return `attention_head_dim ${dim} is more than the level's ${channels} channels`;
  }
  return null;
}

/** Whether any attention works with this level's channels. */
export function attendsAt(config: UNet2DConfig, level: number): boolean {
  const levels = config.block_out_channels.length;
  const middle = level === levels - 1 && config.mid_block_type !== null && config.add_attention;
  return (
    middle ||
    config.down_block_types[level] === 'AttnDownBlock2D' ||
    config.up_block_types[levels - 1 - level] === 'AttnUpBlock2D'
  );
}

/** Channels of a head at a level. */
export function headChannelsAt({ attention_head_dim: dim, block_out_channels }: UNet2DConfig, level: number): number {
  return (Array.isArray(dim) ? dim[level] : dim) ?? (block_out_channels[level] as number);
}
