/**
 * How a level's size changes: by a convolution, inside a residual block (average pooling or nearest neighbour on both its paths), or
 * by average pooling and nearest neighbour alone.
 */
export type Resampling = 'conv' | 'resBlock' | 'pool';

/** Blocks of diffusers by what they are made of; null: as `downsample_type` or `upsample_type` says. */
export const blockKinds = {
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

/** Of a level on the way down. */
export type DownBlockName = (typeof downBlockNames)[number];
/** Of a level on the way up. */
export type UpBlockName = (typeof upBlockNames)[number];
