import * as v from 'valibot';
import { boolean, integer, number, oneOf, parseOptions } from '../options.js';
import { downBlockNames, upBlockNames } from './unetBlockNames.js';

const sizes = v.union(
  [integer(1), v.strictTuple([integer(1), integer(1)]), v.null()],
  'a positive integer, [height, width] or null',
);
const downBlocks = oneOf(...downBlockNames);
const upBlocks = oneOf(...upBlockNames);
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
const entries = {
  // Height and width of the images; only samplers read it.
  sample_size: v.optional(sizes, null),
  in_channels: v.optional(integer(1), 3),
  out_channels: v.optional(integer(1), 3),
  // The network reads 2x − 1.
  center_input_sample: v.optional(boolean(), false),
  // Sinusoids of the step, or a table with a row for each of `num_train_timesteps`.
  time_embedding_type: v.optional(oneOf('positional', 'learned'), 'positional'),
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
  layers_per_block: v.optional(integer(1, 1000), 2),
  // Divides what the middle's blocks give.
  mid_block_scale_factor: v.optional(v.pipe(number(), v.notValue(0, 'a finite number other than 0')), 1),
  // 1: zeros all around before halving; 0: at the lower right only.
  downsample_padding: v.optional(v.picklist([0, 1], '0 or 1'), 1),
  // How AttnDownBlock2D and AttnUpBlock2D change the size; the other blocks say it by their name.
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
  // How labels become an embedding where there is no table: as steps do, or they are one.
  class_embed_type: v.optional(v.nullable(oneOf('timestep', 'identity')), null),
  num_class_embeds: v.optional(v.nullable(integer(1)), null),
  num_train_timesteps: v.optional(v.nullable(integer(1)), null),
  // Not diffusers': number of sinusoids where it is not the first level's channels, and heads that differ on the way up.
  time_proj_dim: v.optional(integer(1)),
  up_attention_head_dim: v.optional(headSizes),
};

/** A network, in the words of diffusers' `UNet2DModel`. */
export type UNet2DConfig = v.InferOutput<v.ObjectSchema<typeof entries, undefined>>;

/** Channels of the time embedding. */
export function timeWidthOf({ time_embedding_dim, block_out_channels }: UNet2DConfig): number {
  return time_embedding_dim ?? 4 * (block_out_channels[0] as number);
}

/** How many classes there are in its table; null where it has none. */
export function classesOf({ class_embed_type, num_class_embeds }: UNet2DConfig): number | null {
  return class_embed_type === null ? num_class_embeds : null; // diffusers does not read the number otherwise
}

/** What `unet_ema/config.json` says of the averaging, and not of the network. */
const averaging = 'decay inv_gamma min_decay optimization_step power update_after_step use_ema_warmup'.split(' ');

/** Entries with names that are not known stay as they are, as in diffusers; those that describe the file or the averaging go. */
export const configSchema = v.pipe(
  v.looseObject(entries),
  v.transform((given) => {
    const kept = Object.entries(given).filter(([name]) => !name.startsWith('_') && !averaging.includes(name));
    return Object.fromEntries(kept) as UNet2DConfig;
  }),
);

/** A configuration that is not from a file. Throws OptionError naming the entry. */
export function parseConfig(owner: string, given: unknown): UNet2DConfig {
  return parseOptions(owner, configSchema, given);
}
