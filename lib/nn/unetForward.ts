import type { FloatType } from '../ops/check.js';
import { conv2d } from '../ops/conv2d.js';
import { scale, silu } from '../ops/elementwise.js';
import { embedding } from '../ops/embedding.js';
import { groupNorm } from '../ops/groupNorm.js';
import { cast } from '../ops/layout.js';
import type { Seed } from '../random.js';
import type { Tensor } from '../tensor.js';
import { attention, down, timeEmbedding, up } from './blocks/index.js';
import { projectedResidual } from './blocks/residual.js';
import type { UNet2DConfig } from './unetConfig.js';
import type { AttentionLayer, Block, ResidualLayer, UNetLayers } from './unetLayers.js';

/** What every residual block gets of the step and the class: silu(embedding), [N, D]. */
export function embedTime(layers: UNetLayers, config: UNet2DConfig, steps: Tensor, classes: Tensor | null): Tensor {
  const { block_out_channels, flip_sin_to_cos: flipSinToCos, freq_shift: freqShift } = config;
  const channels = block_out_channels[0] as number;
  const time = timeEmbedding(steps, layers.timeEmbedding, { channels, flipSinToCos, freqShift });
  return silu(classes && layers.classEmbedding ? embedding(classes, layers.classEmbedding, { addend: time }) : time);
}

/**
 * The network's way down, through the middle and up: f32 [N, H, W, C] → f32 [N, H, W, K], in `dtype` between. Every output on
 * the way down is kept and read again, as a skip, by the block of the same place on the way up.
 */
export function predict(
  layers: UNetLayers,
  config: UNet2DConfig,
  dtype: FloatType,
  images: Tensor,
  time: ReadonlyMap<ResidualLayer, Tensor>,
  random: { dropout?: number; seed?: Seed },
): Tensor {
  const { convIn, middle, normOut, convOut } = layers;
  const { center_input_sample, downsample_padding, norm_num_groups: groups, norm_eps: eps } = config;
  const { device } = images;
  const resnet = (x: Tensor, layer: ResidualLayer, skip?: Tensor) =>
    projectedResidual(x, layer.weights, { ...layer.options, ...random, skip }, time.get(layer) as Tensor);
  const attend = (x: Tensor, layer: AttentionLayer | null) => (layer ? attention(x, layer.weights, layer.options) : x);
  const run = (x: Tensor, { residual, attention }: Block, skip?: Tensor) =>
    device.scope(() => attend(resnet(x, residual, skip), attention));

  const input = center_input_sample ? scale(images, 2, -1) : images;
  const entry = dtype === 'f32' ? input : cast(input, dtype);
  let x = conv2d(entry, convIn.weight, { bias: convIn.bias, padding: 1, statistics: true });
  const skips = [x];
  const goDown = (made: Tensor) => {
    x = made;
    skips.push(made);
  };
  for (const { blocks, resample } of layers.down) {
    for (const block of blocks) goDown(run(x, block));
    if (resample) goDown(down(x, resample, { padding: downsample_padding }));
  }
  if (middle) x = device.scope(() => resnet(attend(resnet(x, middle.first), middle.attention), middle.last));
  const goUp = (made: Tensor, skip?: Tensor) => {
    skip?.dispose();
    x.dispose(); // without gradients its memory is free from here on
    x = made;
  };
  for (const { blocks, resample } of layers.up) {
    for (const block of blocks) {
      const skip = skips.pop() as Tensor;
      goUp(run(x, block, skip), skip);
    }
    if (resample) goUp(up(x, resample));
  }
  const normed = groupNorm(x, normOut.weight, normOut.bias, { groups, eps, silu: true });
  return conv2d(normed, convOut.weight, { bias: convOut.bias, padding: 1, dtype: 'f32' });
}
