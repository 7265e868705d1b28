import { openAiNetwork } from './openaiConfig.js';
import type { OpenAiOptions } from './openaiOptions.js';
import { downKind, headChannelsAt, upKind } from './unetLevels.js';

/** Where a parameter lies in a file of OpenAI's: what both hold is in PyTorch's order. */
export interface OpenAiTensor {
  /** Name of the tensor there. */
  readonly from: string;
  /** Its shape there, for a parameter of this shape. */
  readonly shape: (own: readonly number[]) => number[];
  /** The parameter's values in those of the tensor. */
  readonly take: (whole: Float32Array) => Float32Array;
  /** Writes the parameter's values into those of the tensor. */
  readonly put: (own: Float32Array, whole: Float32Array) => void;
}

const residualKeys = {
  norm1: 'in_layers.0',
  conv1: 'in_layers.2',
  time_emb_proj: 'emb_layers.1',
  norm2: 'out_layers.0',
  conv2: 'out_layers.3',
} as const;

/**
 * Where each parameter of a network lies in the file that OpenAI's `UNetModel` with these arguments writes, by the parameters' names.
 * The file holds nothing else.
 * @throws OptionError naming the argument.
 */
export function openAiTensors(options: OpenAiOptions, owner = 'openAiTensors'): Map<string, OpenAiTensor> {
  const { config, newAttentionOrder } = openAiNetwork(owner, options);
  const { block_out_channels: channels, layers_per_block: layersPerBlock } = config;
  const levels = channels.length;
  const tensors = new Map<string, OpenAiTensor>();
  const whole = (own: string, from: string) => {
    tensors.set(own, { from, shape: (shape) => [...shape], take: (values) => values, put: (values, all) => all.set(values) });
  };
  const affine = (own: string, from: string) => {
    for (const part of ['weight', 'bias']) whole(`${own}.${part}`, `${from}.${part}`);
  };
  const residual = (own: string, from: string, hasShortcut: boolean) => {
    for (const [name, there] of Object.entries(residualKeys)) affine(`${own}.${name}`, `${from}.${there}`);
    if (hasShortcut) affine(`${own}.conv_shortcut`, `${from}.skip_connection`);
  };
  const attention = (own: string, from: string, level: number, up = false) => {
    const heads = (channels[level] as number) / headChannelsAt(config, level, up);
    affine(`${own}.group_norm`, `${from}.norm`);
    for (const part of ['weight', 'bias']) {
      for (const [index, name] of ['to_q', 'to_k', 'to_v'].entries())
        tensors.set(`${own}.${name}.${part}`, third(`${from}.qkv.${part}`, index, newAttentionOrder ? 1 : heads));
      whole(`${own}.to_out.0.${part}`, `${from}.proj_out.${part}`);
    }
    const out = `${own}.to_out.0.weight`;
    tensors.set(out, { ...(tensors.get(out) as OpenAiTensor), shape: (shape) => [...shape, 1] });
  };

  affine('time_embedding.linear_1', 'time_embed.0');
  affine('time_embedding.linear_2', 'time_embed.2');
  if (config.num_class_embeds !== null) whole('class_embedding.weight', 'label_emb.weight');
  affine('conv_in', 'input_blocks.0.0');
  let block = 1;
  for (const [level, width] of channels.entries()) {
    const { attends, resample } = downKind(config, level);
    const own = `down_blocks.${level}`;
    for (let i = 0; i < layersPerBlock; i++, block++) {
      const input = i === 0 ? (channels[level - 1] ?? channels[0]) : width;
      residual(`${own}.resnets.${i}`, `input_blocks.${block}.0`, input !== width);
      if (attends) attention(`${own}.attentions.${i}`, `input_blocks.${block}.1`, level);
    }
    if (level === levels - 1) break;
    if (resample === 'conv') affine(`${own}.downsamplers.0.conv`, `input_blocks.${block}.0.op`);
    if (resample === 'resBlock') residual(`${own}.downsamplers.0`, `input_blocks.${block}.0`, false);
    block++;
  }
  residual('mid_block.resnets.0', 'middle_block.0', false);
  attention('mid_block.attentions.0', 'middle_block.1', levels - 1);
  residual('mid_block.resnets.1', 'middle_block.2', false);
  block = 0;
  for (let index = 0; index < levels; index++) {
    const { attends, resample } = upKind(config, index);
    const own = `up_blocks.${index}`;
    for (let i = 0; i <= layersPerBlock; i++, block++) {
      residual(`${own}.resnets.${i}`, `output_blocks.${block}.0`, true); // its input and a skip are always more channels
      if (attends) attention(`${own}.attentions.${i}`, `output_blocks.${block}.1`, levels - 1 - index, true);
    }
    if (index === levels - 1) break;
    const last = `output_blocks.${block - 1}.${attends ? 2 : 1}`;
    if (resample === 'conv') affine(`${own}.upsamplers.0.conv`, `${last}.conv`);
    if (resample === 'resBlock') residual(`${own}.upsamplers.0`, last, false);
  }
  affine('conv_norm_out', 'out.0');
  affine('conv_out', 'out.2');
  return tensors;
}

/** One of q, k and v in the rows of `qkv`: `count` times q, k and v one after another. */
function third(from: string, index: number, count: number): OpenAiTensor {
  const places = (all: Float32Array) => {
    const size = all.length / (3 * count);
    return Array.from({ length: count }, (_, i) => ({ own: i * size, there: (3 * i + index) * size, size }));
  };
  return {
    from,
    shape: ([rows, ...rest]) => [3 * (rows as number), ...rest, ...rest.map(() => 1)],
    take: (all) => {
      const values = new Float32Array(all.length / 3);
      for (const { own, there, size } of places(all)) values.set(all.subarray(there, there + size), own);
      return values;
    },
    put: (values, all) => {
      for (const { own, there, size } of places(all)) all.set(values.subarray(own, own + size), there);
    },
  };
}
