import type { UNet2DConfig } from './unetConfig.js';

/**
 * How a level's size changes: by a convolution, inside a residual block (average pooling or nearest neighbour on both its paths), or
 * by average pooling and nearest neighbour alone.
 */
export type Resampling = 'conv' | 'resBlock' | 'pool';

/** What a level of the way down or up is made of. */
export interface LevelKind {
  /** Whether attention follows each residual block. */
  attends: boolean;
  /** How its size changes, where it does. */
  resample: Resampling;
}

/** Blocks of diffusers by what they are made of; null: as `downsample_type` or `upsample_type` says. */
const kinds = {
  DownBlock2D: [false, 'conv'],
  AttnDownBlock2D: [true, null],
  ResnetDownsampleBlock2D: [false, 'resBlock'],
  UpBlock2D: [false, 'conv'],
  AttnUpBlock2D: [true, null],
  ResnetUpsampleBlock2D: [false, 'resBlock'],
  // Levels that diffusers does not have: it refuses these names, where other spellings would give it another network.
  PoolDownBlock2D: [false, 'pool'],
  AttnPoolDownBlock2D: [true, 'pool'],
  PoolUpBlock2D: [false, 'pool'],
  AttnPoolUpBlock2D: [true, 'pool'],
} as const satisfies Record<string, readonly [boolean, Resampling | null]>;

/** Block names of the way down. */
export const downBlockNames = [
  'DownBlock2D',
  'AttnDownBlock2D',
  'ResnetDownsampleBlock2D',
  'PoolDownBlock2D',
  'AttnPoolDownBlock2D',
] as const;

/** Block names of the way up. */
export const upBlockNames = [
  'UpBlock2D',
  'AttnUpBlock2D',
  'ResnetUpsampleBlock2D',
  'PoolUpBlock2D',
  'AttnPoolUpBlock2D',
] as const;

type DownBlockName = (typeof downBlockNames)[number];
type UpBlockName = (typeof upBlockNames)[number];

/** Of a level on the way down; 0 has the largest images. */
export function downKind(config: UNet2DConfig, level: number): LevelKind {
  const [attends, resample] = kinds[config.down_block_types[level] as DownBlockName];
  return { attends, resample: resample ?? (config.downsample_type === 'resnet' ? 'resBlock' : 'conv') };
}

/** Of a level on the way up; `index` 0 has the smallest images. */
export function upKind(config: UNet2DConfig, index: number): LevelKind {
  const [attends, resample] = kinds[config.up_block_types[index] as UpBlockName];
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
