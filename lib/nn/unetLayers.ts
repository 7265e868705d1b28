import type { Parameter } from '../autograd/parameter.js';
import { streams } from '../random.js';
import type { AttentionBlockOptions, AttentionWeights } from './blocks/attention.js';
import type { ResidualOptions, ResidualWeights } from './blocks/residual.js';
import type { TimeEmbeddingWeights } from './blocks/timeEmbedding.js';
import type { Affine } from './blocks/weights.js';
import type { Declare } from './parameters.js';
import { classesOf, timeWidthOf, type UNet2DConfig } from './unetConfig.js';
import { downKind, headChannelsAt, type LevelKind, upKind } from './unetLevels.js';

/** A residual block with what never changes about it. */
export interface ResidualLayer {
  weights: ResidualWeights;
  options: ResidualOptions;
}

export interface AttentionLayer {
  weights: AttentionWeights;
  options: AttentionBlockOptions;
}

/** A residual block, followed by attention or not. */
export interface Block {
  residual: ResidualLayer;
  attention: AttentionLayer | null;
}

/** A change of size. */
export type Resampler = { kind: 'conv'; weights: Affine } | { kind: 'resBlock'; layer: ResidualLayer } | { kind: 'pool' };

/** Blocks of one image size, then a change of size or none. */
export interface Level {
  blocks: Block[];
  resample: Resampler | null;
}

/** The parameters of a UNet in the order in which they are used. */
export interface UNetLayers {
  convIn: Affine;
  /** [T, C]: rows in place of sinusoids. */
  timeTable: Parameter | null;
  timeEmbedding: TimeEmbeddingWeights;
  /** A table [V, D], or maps of what steps are made into. */
  classEmbedding: Parameter | TimeEmbeddingWeights | null;
  down: Level[];
  middle: { first: ResidualLayer; attention: AttentionLayer | null; last: ResidualLayer } | null;
  up: Level[];
  normOut: Affine;
  convOut: Affine;
}

/**
 * Declares every parameter under diffusers' name. Weights and biases are uniform within ±1/√(fan in) as in PyTorch; with
 * `zeroInit` the last layer of each block, and the network's, is zero.
 */
export function unetLayers(declare: Declare, config: UNet2DConfig, zeroInit: boolean): UNetLayers {
  const { block_out_channels: channels, layers_per_block: layersPerBlock, norm_num_groups: groups, norm_eps: eps } = config;
  const levels = channels.length;
  const first = channels[0] as number;
  const last = channels[levels - 1] as number;
  const timeWidth = timeWidthOf(config);
  let dropouts = 0;

  const affine = (name: string, shape: readonly number[], zero = false): Affine => {
    const bound = 1 / Math.sqrt(shape.slice(1).reduce((product, size) => product * size, 1));
    const initial = zero ? 0 : { uniform: bound };
    return {
      weight: declare(`${name}.weight`, shape, shape.length === 4 ? 'conv' : 'linear', initial),
      bias: declare(`${name}.bias`, [shape[0] as number], 'plain', initial),
    };
  };
  const conv = (name: string, input: number, output: number, size = 3, zero = false) =>
    affine(name, [output, input, size, size], zero);
  const linear = (name: string, input: number, output: number, zero = false) => affine(name, [output, input], zero);
  const norm = (name: string, width: number): Affine => ({
    weight: declare(`${name}.weight`, [width], 'plain', 1),
    bias: declare(`${name}.bias`, [width], 'plain', 0),
  });

  const residual = (name: string, input: number, output: number, options: Partial<ResidualOptions> = {}): ResidualLayer => {
    const scaleShift = config.resnet_time_scale_shift === 'scale_shift';
    return {
      weights: {
        norm1: norm(`${name}.norm1`, input),
        conv1: conv(`${name}.conv1`, input, output),
        timeProjection: linear(`${name}.time_emb_proj`, timeWidth, scaleShift ? 2 * output : output),
        norm2: norm(`${name}.norm2`, output),
        conv2: conv(`${name}.conv2`, output, output, 3, zeroInit),
        shortcut: input === output ? null : conv(`${name}.conv_shortcut`, input, output, 1),
      },
      options: {
        groups,
        eps,
        timeEmbedding: scaleShift ? 'scaleShift' : 'add',
        stream: streams.dropout + dropouts++,
        ...options,
      },
    };
  };
  const attention = (
    name: string,
    level: number,
    { normGroups = groups, outputScale = 1, up = false }: { normGroups?: number | null; outputScale?: number; up?: boolean } = {},
  ): AttentionLayer => {
    const width = channels[level] as number;
    const headChannels = headChannelsAt(config, level, up);
    const heads = Math.floor(width / headChannels);
    const inner = heads * headChannels;
    return {
      weights: {
        norm: normGroups === null ? null : norm(`${name}.group_norm`, width),
        q: linear(`${name}.to_q`, width, inner),
        k: linear(`${name}.to_k`, width, inner),
        v: linear(`${name}.to_v`, width, inner),
        out: linear(`${name}.to_out.0`, inner, width, zeroInit),
      },
      options: { groups: normGroups ?? groups, eps, heads, outputScale },
    };
  };

  const resampler = (name: string, width: number, direction: 'down' | 'up', { resample }: LevelKind): Resampler => {
    if (resample === 'conv') return { kind: resample, weights: conv(`${name}.conv`, width, width) };
    if (resample === 'resBlock') return { kind: resample, layer: residual(name, width, width, { resample: direction }) };
    return { kind: resample };
  };
  const downLevel = (level: number): Level => {
    const name = `down_blocks.${level}`;
    const width = channels[level] as number;
    const kind = downKind(config, level);
    const blocks = Array.from({ length: layersPerBlock }, (_, i) => ({
      residual: residual(`${name}.resnets.${i}`, i === 0 ? (channels[level - 1] ?? first) : width, width),
      attention: kind.attends ? attention(`${name}.attentions.${i}`, level) : null,
    }));
    return { blocks, resample: level < levels - 1 ? resampler(`${name}.downsamplers.0`, width, 'down', kind) : null };
  };
  /** `index` 0 is the smallest image. */
  const upLevel = (index: number): Level => {
    const name = `up_blocks.${index}`;
    const level = levels - 1 - index;
    const width = channels[level] as number;
    const kind = upKind(config, index);
    const blocks = Array.from({ length: layersPerBlock + 1 }, (_, i) => {
      const below = i === 0 ? (channels[level + 1] ?? last) : width;
      const skip = i === layersPerBlock ? (channels[level - 1] ?? first) : width;
      return {
        residual: residual(`${name}.resnets.${i}`, below + skip, width),
        attention: kind.attends ? attention(`${name}.attentions.${i}`, level, { up: true }) : null,
      };
    });
    return { blocks, resample: index < levels - 1 ? resampler(`${name}.upsamplers.0`, width, 'up', kind) : null };
  };
  const middle = (): UNetLayers['middle'] => {
    if (config.mid_block_type === null) return null;
    const outputScale = config.mid_block_scale_factor;
    const normGroups = config.attn_norm_num_groups ?? (config.resnet_time_scale_shift === 'default' ? groups : null);
    return {
      first: residual('mid_block.resnets.0', last, last, { outputScale }),
      attention: config.add_attention ? attention('mid_block.attentions.0', levels - 1, { normGroups, outputScale }) : null,
      last: residual('mid_block.resnets.1', last, last, { outputScale }),
    };
  };
  const timeInput = config.time_proj_dim ?? first;
  const timeMaps = (name: string): TimeEmbeddingWeights => ({
    linear1: linear(`${name}.linear_1`, timeInput, timeWidth),
    linear2: linear(`${name}.linear_2`, timeWidth, timeWidth),
  });
  const table = (name: string, rows: number | null, width: number) =>
    rows === null ? null : declare(name, [rows, width], 'plain', 'normal');

  return {
    convIn: conv('conv_in', config.in_channels, first),
    timeTable: config.time_embedding_type === 'learned' ? table('time_proj.weight', config.num_train_timesteps, timeInput) : null,
    timeEmbedding: timeMaps('time_embedding'),
    classEmbedding:
      config.class_embed_type === 'timestep'
        ? timeMaps('class_embedding')
        : table('class_embedding.weight', classesOf(config), timeWidth),
    down: channels.map((_, level) => downLevel(level)),
    middle: middle(),
    up: channels.map((_, index) => upLevel(index)),
    normOut: norm('conv_norm_out', first),
    convOut: conv('conv_out', first, config.out_channels, 3, zeroInit),
  };
}
