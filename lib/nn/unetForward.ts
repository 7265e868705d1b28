import { checkpoint } from '../autograd/checkpoint.js';
import { Parameter } from '../autograd/parameter.js';
import type { FloatType } from '../ops/check.js';
import { conv2d } from '../ops/conv2d.js';
import { add, scale, silu } from '../ops/elementwise.js';
import { embedding, timestepEmbedding } from '../ops/embedding.js';
import { groupNorm } from '../ops/groupNorm.js';
import { cast } from '../ops/layout.js';
import type { Seed } from '../random.js';
import { Tensor } from '../tensor.js';
import { attention, down, up } from './blocks/index.js';
import { projectedResidual } from './blocks/residual.js';
import { twoMaps } from './blocks/timeEmbedding.js';
import type { UNet2DConfig } from './unetConfig.js';
import type { AttentionLayer, Block, Resampler, ResidualLayer, UNetLayers } from './unetLayers.js';

/** What every residual block gets of the step and the class: silu(embedding), [N, D]. */
export function embedTime(layers: UNetLayers, config: UNet2DConfig, steps: Tensor, classes: Tensor | null): Tensor {
  const { flip_sin_to_cos: flipSinToCos, freq_shift: freqShift } = config;
  const channels = config.time_proj_dim ?? (config.block_out_channels[0] as number);
  const { timeTable, classEmbedding } = layers;
  const features = (t: Tensor) =>
    timeTable ? embedding(t, timeTable) : timestepEmbedding(t, channels, { flipSinToCos, freqShift });
  const time = twoMaps(features(steps), layers.timeEmbedding);
  if (!classes) return silu(time);
  if (classEmbedding instanceof Parameter) return silu(embedding(classes, classEmbedding, { addend: time }));
  return silu(add(time, classEmbedding ? twoMaps(features(classes), classEmbedding) : classes));
}

/** How `predict` runs. */
export interface Run {
  /** Element type of the arithmetic between the first and the last layer. */
  dtype: FloatType;
  /** What the time is to each residual block. */
  time: ReadonlyMap<ResidualLayer, Tensor>;
  dropout: number;
  /** Of the dropout. */
  seed?: Seed;
  /** Memory of the parameters, where blocks are computed again in the backward pass instead of keeping what it needs. */
  recompute: Tensor | null;
}

/**
 * The network's way down, through the middle and up: f32 [N, H, W, C] → f32 [N, H, W, K], in `dtype` between. Every output on
 * the way down is kept and read again, as a skip, by the block of the same place on the way up.
 */
export function predict(layers: UNetLayers, config: UNet2DConfig, images: Tensor, run: Run): Tensor {
  const { convIn, middle, normOut, convOut } = layers;
  const { center_input_sample, downsample_padding, norm_num_groups: groups, norm_eps: eps } = config;
  const { dtype } = run;
  const block = blockRunner(run);
  const resize = (x: Tensor, resample: Resampler, direction: 'down' | 'up') => {
    if (resample.kind === 'resBlock') return block(x, { residual: resample.layer, attention: null });
    if (resample.kind === 'pool') return direction === 'down' ? down(x, null) : up(x, null);
    return direction === 'down' ? down(x, resample.weights, { padding: downsample_padding }) : up(x, resample.weights);
  };

  const input = center_input_sample ? scale(images, 2, -1) : images;
  const entry = dtype === 'f32' ? input : cast(input, dtype);
  let x = conv2d(entry, convIn.weight, { bias: convIn.bias, padding: 1, statistics: true });
  const skips = [x];
  const goDown = (made: Tensor) => {
    x = made;
    skips.push(made);
  };
  for (const { blocks, resample } of layers.down) {
    for (const one of blocks) goDown(block(x, one));
    if (resample) goDown(resize(x, resample, 'down'));
  }
  const goOn = (made: Tensor, skip?: Tensor) => {
    skip?.dispose();
    if (!skips.includes(x)) x.dispose(); // without gradients its memory is free from here on
    x = made;
  };
  if (middle) {
    goOn(block(x, { residual: middle.first, attention: middle.attention }));
    goOn(block(x, { residual: middle.last, attention: null }));
  }
  for (const { blocks, resample } of layers.up) {
    for (const one of blocks) {
      const skip = skips.pop() as Tensor;
      goOn(block(x, one, skip), skip);
    }
    if (resample) goOn(resize(x, resample, 'up'));
  }
  const normed = groupNorm(x, normOut.weight, normOut.bias, { groups, eps, silu: true });
  return conv2d(normed, convOut.weight, { bias: convOut.bias, padding: 1, dtype: 'f32' });
}

/** Input, second input, what the time is to the block, and the seed of its dropout where that is a tensor. */
type BlockInputs = [Tensor, Tensor | null, Tensor | null, Tensor | null];

/** Runs a residual block and the attention behind it, if any. */
function blockRunner({ time, dropout, seed, recompute }: Run) {
  const attend = (x: Tensor, layer: AttentionLayer | null) => (layer ? attention(x, layer.weights, layer.options) : x);
  return (x: Tensor, { residual, attention }: Block, skip: Tensor | null = null): Tensor => {
    const random = dropout > 0 ? { dropout } : {};
    const compute = (...[x, skip, projected, state]: BlockInputs) =>
      attend(
        projectedResidual(x, residual.weights, { ...residual.options, ...random, seed: state ?? seed, skip }, projected),
        attention,
      );
    const inputs: BlockInputs = [x, skip, time.get(residual) ?? null, seed instanceof Tensor ? seed : null];
    return recompute ? checkpoint(inputs, [recompute], compute) : x.device.scope(() => compute(...inputs));
  };
}
