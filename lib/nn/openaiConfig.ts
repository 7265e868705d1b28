import { OptionError } from '../errors.js';
import type { FloatType } from '../ops/check.js';
import { checkOpenAiOptions, type OpenAiOptions } from './openaiOptions.js';
import type { UNet2DConfig } from './unetConfig.js';
import { contradiction } from './unetContradiction.js';
import { attendsAt, levelEntries } from './unetLevels.js';
import { headDimensionsOf } from './unetTranslation.js';

/** What OpenAI's arguments say of a network and of its file. */
export interface OpenAiNetwork {
  /** The same network in diffusers' words. */
  config: UNet2DConfig;
  /** Whether the rows of `qkv` are q, k and v, each with all heads, and not q, k and v of one head after another. */
  newAttentionOrder: boolean;
  /** `use_checkpoint` */
  gradientCheckpointing: boolean;
  /** What to compute in. */
  dtype: FloatType;
}

/** Groups of every normalisation in OpenAI's networks. */
const groups = 32;

/** Throws OptionError naming the argument. */
export function openAiNetwork(owner: string, options: OpenAiOptions): OpenAiNetwork {
  const given = checkOpenAiOptions(owner, options);
  const { model_channels: base, multipliers } = given;
  const attends = multipliers.map((_, level) => given.reductions.includes(2 ** level));
  const first = Math.floor((multipliers[0] as number) * base);
  const config: UNet2DConfig = {
    sample_size: given.image_size ?? null,
    in_channels: given.in_channels,
    out_channels: given.out_channels,
    center_input_sample: false,
    time_embedding_type: 'positional',
    time_embedding_dim: first === base ? null : 4 * base,
    ...(first !== base && { time_proj_dim: base }),
    freq_shift: 0,
    flip_sin_to_cos: true,
    ...levelEntries(attends, given.resblock_updown ? 'resBlock' : given.conv_resample ? 'conv' : 'pool'),
    mid_block_type: 'UNetMidBlock2D',
    block_out_channels: multipliers.map((multiplier) => Math.floor(multiplier * base)),
    layers_per_block: given.num_res_blocks,
    mid_block_scale_factor: 1,
    downsample_padding: 1,
    dropout: given.dropout,
    act_fn: 'silu',
    attention_head_dim: null,
    norm_num_groups: groups,
    attn_norm_num_groups: groups,
    norm_eps: 1e-5,
    resnet_time_scale_shift: given.use_scale_shift_norm ? 'scale_shift' : 'default',
    add_attention: true,
    class_embed_type: null,
    num_class_embeds: given.num_classes,
    num_train_timesteps: null,
  };
  const problem = contradiction(config);
  if (problem !== null) throw new OptionError(`${owner}: ${problem}`);
  const heads = headEntries(owner, config, given);
  const { use_new_attention_order: newAttentionOrder, use_checkpoint: gradientCheckpointing, dtype } = given;
  return { config: { ...config, ...heads }, newAttentionOrder, gradientCheckpointing, dtype };
}

/** Heads as diffusers counts them, by their channels. */
function headEntries(
  owner: string,
  config: UNet2DConfig,
  { num_heads, num_heads_upsample, num_head_channels }: ReturnType<typeof checkOpenAiOptions>,
): Pick<UNet2DConfig, 'attention_head_dim' | 'up_attention_head_dim'> {
  const channels = config.block_out_channels.filter((_, level) => attendsAt(config, level));
  const mustDivide = (option: keyof OpenAiOptions, divisor: number): void => {
    if (divisor < 1 || channels.some((count) => count % divisor !== 0))
      throw new OptionError(
        `${owner}: option '${option}' must be a divisor of the attention's channels ${channels}, got ${divisor}`,
      );
  };
  if (num_head_channels !== -1) {
    mustDivide('num_head_channels', num_head_channels);
    return { attention_head_dim: num_head_channels };
  }
  const up = num_heads_upsample === -1 ? num_heads : num_heads_upsample;
  mustDivide('num_heads', num_heads);
  mustDivide('num_heads_upsample', up);
  if (up === num_heads) return { attention_head_dim: headDimensionsOf(config, num_heads) };
  // One number a level is what diffusers refuses: it would not know that the way up has other heads.
  const byLevel = (heads: number) => config.block_out_channels.map((count) => Math.max(1, Math.floor(count / heads)));
  return { attention_head_dim: byLevel(num_heads), up_attention_head_dim: byLevel(up) };
}
