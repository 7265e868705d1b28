import { blocks, type Device, Parameter, type Tensor } from 'diffusion-native';
import type { Network } from './networks.js';
import type { DTypeName } from './result.js';

/** A block of a network. */
export interface BlockCase {
  kind: 'residual' | 'residual with attention' | 'residual with skip' | 'down' | 'up';
  name: string;
  /** Side of its input. */
  size: number;
  channels: number;
}

/** What each level of a network has. */
export function blockCases({ unet }: Network): BlockCase[] {
  const { imageSize, baseChannels = 128, channelMults = [], attentionResolutions = [] } = unet;
  return channelMults.flatMap((mult, level) => {
    const [size, channels] = [(imageSize as number) / 2 ** level, mult * baseChannels];
    const kinds: BlockCase['kind'][] = ['residual', 'residual with skip'];
    if (attentionResolutions.includes(size)) kinds.push('residual with attention');
    if (level < channelMults.length - 1) kinds.push('down');
    if (level > 0) kinds.push('up');
    return kinds.map((kind) => ({ kind, name: `${kind}, ${size}²×${channels}`, size, channels }));
  });
}

/** A block with parameters of its own, ready to run. */
export interface MadeBlock {
  forward: () => Tensor;
  parameters: readonly Parameter[];
}

/** Makes a block with random weights and inputs; the inputs are parameters too, so that training computes their gradients. */
export function makeBlock(device: Device, block: BlockCase, network: Network, batch: number, dtype: DTypeName): MadeBlock {
  const { kind, size, channels: c } = block;
  const { groups = 32, heads = 1, timeEmbedding = 'add', baseChannels = 128 } = network.unet;
  const parameters: Parameter[] = [];
  const parameter = (shape: readonly number[], init?: number | { normal: number }) => {
    const one = new Parameter(device, shape, { seed: parameters.length, init, ...(init && { kind: 'plain' }) });
    parameters.push(one);
    return one;
  };
  const affine = (...shape: number[]) => ({ weight: parameter(shape), bias: parameter([shape[0] as number]) });
  const norm = (channels: number) => ({ weight: parameter([channels], 1), bias: parameter([channels]) });
  const image = () => parameter([batch, size, size, c], { normal: 1 });
  const x = image();
  if (kind === 'down' || kind === 'up') {
    const weights = affine(c, c, 3, 3);
    return { parameters, forward: () => blocks[kind](x.as(dtype), weights) };
  }
  const skip = kind === 'residual with skip' ? image() : null;
  const inputs = skip ? 2 * c : c;
  const timeChannels = 4 * baseChannels;
  const time = parameter([batch, timeChannels], { normal: 1 });
  const weights = {
    norm1: norm(inputs),
    conv1: affine(c, inputs, 3, 3),
    timeProjection: affine(timeEmbedding === 'add' ? c : 2 * c, timeChannels),
    norm2: norm(c),
    conv2: affine(c, c, 3, 3),
    shortcut: skip && affine(c, inputs, 1, 1),
  };
  const residual = () => blocks.residual(x.as(dtype), weights, { groups, time, timeEmbedding, skip: skip?.as(dtype) });
  if (kind !== 'residual with attention') return { parameters, forward: residual };
  const attention = { norm: norm(c), q: affine(c, c), k: affine(c, c), v: affine(c, c), out: affine(c, c) };
  return { parameters, forward: () => blocks.attention(residual(), attention, { groups, heads }) };
}
