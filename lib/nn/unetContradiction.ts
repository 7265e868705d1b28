import type { UNet2DConfig } from './unetConfig.js';
import { attendsAt, headChannelsAt } from './unetLevels.js';

/** What is wrong with a configuration whose entries are each of the right kind, or null. */
export function contradiction(config: UNet2DConfig): string | null {
  const levels = config.block_out_channels.length;
  for (const key of ['down_block_types', 'up_block_types'] as const)
    if (config[key].length !== levels) return `${key} has ${config[key].length} entries, but block_out_channels has ${levels}`;
  const groups = config.norm_num_groups;
  const odd = config.block_out_channels.find((channels) => channels % groups !== 0);
  if (odd !== undefined) return `norm_num_groups ${groups} does not divide ${odd} channels`;
  const middle = config.block_out_channels[levels - 1] as number;
  if (config.attn_norm_num_groups !== null && middle % config.attn_norm_num_groups !== 0)
    return `attn_norm_num_groups ${config.attn_norm_num_groups} does not divide ${middle} channels`;
  for (const key of ['attention_head_dim', 'up_attention_head_dim'] as const) {
    const heads = config[key];
    if (Array.isArray(heads) && heads.length !== levels)
      return `${key} has ${heads.length} entries, but block_out_channels has ${levels}`;
    for (const [level, channels] of config.block_out_channels.entries()) {
      const dim = headChannelsAt(config, level, key === 'up_attention_head_dim');
      if (attendsAt(config, level) && dim > channels) return `${key} ${dim} is more than the level's ${channels} channels`;
    }
  }
  if (config.time_embedding_type === 'learned' && config.num_train_timesteps === null)
    return "num_train_timesteps must be given where time_embedding_type is 'learned'";
  return null;
}
