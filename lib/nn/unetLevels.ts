import { blockKinds, type DownBlockName, type Resampling, type UpBlockName } from './unetBlockNames.js';
import type { UNet2DConfig } from './unetConfig.js';

/** What a level of the way down or up is made of. */
export interface LevelKind {
  /** Whether attention follows each residual block. */
  attends: boolean;
  /** How its size changes, where it does. */
  resample: Resampling;
}

/** Of a level on the way down; 0 has the largest images. */
export function downKind(config: UNet2DConfig, level: number): LevelKind {
  const [attends, resample] = blockKinds[config.down_block_types[level] as DownBlockName];
  return { attends, resample: resample ?? (config.downsample_type === 'resnet' ? 'resBlock' : 'conv') };
}

/** Of a level on the way up; `index` 0 has the smallest images. */
export function upKind(config: UNet2DConfig, index: number): LevelKind {
  const [attends, resample] = blockKinds[config.up_block_types[index] as UpBlockName];
  return { attends, resample: resample ?? (config.upsample_type === 'resnet' ? 'resBlock' : 'conv') };
}

/** Whether any attention works with this level's channels. */
export function attendsAt(config: UNet2DConfig, level: number): boolean {
  const levels = config.block_out_channels.length;
  const middle = level === levels - 1 && config.mid_block_type !== null && config.add_attention;
  return middle || downKind(config, level).attends || upKind(config, levels - 1 - level).attends;
}

/** Channels of a head at a level; `up`: on the way up, where a configuration may say otherwise. */
export function headChannelsAt(config: UNet2DConfig, level: number, up = false): number {
  const dim = (up ? config.up_attention_head_dim : null) ?? config.attention_head_dim;
  return (Array.isArray(dim) ? dim[level] : dim) ?? (config.block_out_channels[level] as number);
}

const names: Record<Resampling, { down: [DownBlockName, DownBlockName]; up: [UpBlockName, UpBlockName] }> = {
  conv: { down: ['DownBlock2D', 'AttnDownBlock2D'], up: ['UpBlock2D', 'AttnUpBlock2D'] },
  resBlock: { down: ['ResnetDownsampleBlock2D', 'AttnDownBlock2D'], up: ['ResnetUpsampleBlock2D', 'AttnUpBlock2D'] },
  pool: { down: ['PoolDownBlock2D', 'AttnPoolDownBlock2D'], up: ['PoolUpBlock2D', 'AttnPoolUpBlock2D'] },
};

/** The entries of a configuration for levels of one kind of resampling; `attends` from the largest images down. */
export function levelEntries(attends: readonly boolean[], resample: Resampling) {
  const type = resample === 'resBlock' ? ('resnet' as const) : ('conv' as const);
  const { down, up } = names[resample];
  return {
    down_block_types: attends.map((attend) => down[attend ? 1 : 0]),
    up_block_types: attends.toReversed().map((attend) => up[attend ? 1 : 0]),
    downsample_type: type,
    upsample_type: type,
  };
}
