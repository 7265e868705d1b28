import { expect, test } from 'vitest';
import type { Device } from '../../lib/device.js';
import { openAiNetwork } from '../../lib/nn/openaiConfig.js';
import type { OpenAiOptions } from '../../lib/nn/openaiOptions.js';
import { UNet } from '../../lib/nn/unet.js';
import { openDevice } from '../../lib/openDevice.js';
import { sizeOf } from '../../lib/tensor.js';
import { maxAbs, relL2 } from '../support/compare.js';
import { conform } from '../support/conformance.js';
import { eachDevice } from '../support/devices.js';
import { randomValues } from '../support/values.js';
import { type Pass, runCase, type UNetCase } from './unetGolden.js';

/**
 * The networks of the reference data that take minutes on the emulator: the same structure with fewer channels and pixels, compared
 * with the CPU, which test/nn/unet.test.ts compares with the reference at the full size.
 */
const reduced: Record<
  string,
  { openAi?: OpenAiOptions; diffusers?: object; input: [number, number, number, number]; outChannels: number }
> = {
  o1_iddpm_plain: {
    openAi: {
      in_channels: 3,
      model_channels: 32,
      out_channels: 3,
      num_res_blocks: 1,
      attention_resolutions: [2],
      channel_mult: [1, 2],
      num_heads: 1,
    },
    input: [2, 3, 4, 4],
    outChannels: 3,
  },
  o5_iddpm_3level_hash: {
    openAi: {
      ...{ in_channels: 1, model_channels: 32, out_channels: 1, num_res_blocks: 2, attention_resolutions: [2, 4] },
      ...{ channel_mult: [1, 2, 2], num_heads: 4, num_heads_upsample: 2 },
    },
    input: [1, 1, 4, 8],
    outChannels: 1,
  },
  o6_iddpm_cifar10_full_hash: {
    openAi: {
      ...{ in_channels: 3, model_channels: 32, out_channels: 6, num_res_blocks: 3, attention_resolutions: [2, 4] },
      ...{ channel_mult: [1, 2, 2, 2], num_heads: 4, use_scale_shift_norm: true },
    },
    input: [1, 3, 8, 16],
    outChannels: 6,
  },
  d6_ddpm_cifar10_32_full_hash: {
    diffusers: {
      ...{ sample_size: [8, 16], in_channels: 3, out_channels: 3, block_out_channels: [32, 64, 64, 64], layers_per_block: 2 },
      down_block_types: ['DownBlock2D', 'AttnDownBlock2D', 'DownBlock2D', 'DownBlock2D'],
      up_block_types: ['UpBlock2D', 'UpBlock2D', 'AttnUpBlock2D', 'UpBlock2D'],
      ...{
        norm_num_groups: 32,
        attention_head_dim: null,
        freq_shift: 1,
        flip_sin_to_cos: false,
        downsample_padding: 0,
        norm_eps: 1e-6,
      },
    },
    input: [1, 3, 8, 16],
    outChannels: 3,
  },
};

async function pass(device: Device, id: string): Promise<Pass> {
  const { openAi, diffusers, input, outChannels } = reduced[id] as (typeof reduced)[string];
  const config = openAi ? openAiNetwork('reduced', openAi).config : (diffusers as object);
  using model = UNet.fromDiffusers(device, config);
  let seed = 0;
  for (const parameter of model.parameters().values()) {
    const [first, ...rest] = parameter.shape;
    const scale = rest.length > 0 ? 1 / Math.sqrt(sizeOf(rest)) : 0.2;
    const norm = parameter.name.includes('norm') && parameter.name.endsWith('weight') ? 1 : 0;
    parameter.write(randomValues(sizeOf([first as number, ...rest]), ++seed).map((value) => norm + scale * value));
  }
  const [n, , height, width] = input;
  const values = (shape: number[], seed: number) => ({ shape, values: randomValues(sizeOf(shape), seed) });
  const tensors = new Map([
    ['x', values(input, 1001)],
    ['target', values([n, outChannels, height, width], 1002)],
    ['t', { shape: [n], values: Float32Array.from({ length: n }, (_, i) => 417 - 5 * i) }],
  ]);
  return runCase(device, model, { tensors, labels: null } as unknown as UNetCase);
}

eachDevice((id, open) => {
  test.for(Object.keys(reduced))('%s, reduced: output, loss and every gradient as on the CPU', async (name, context) => {
    if (id === 'cpu') return context.skip('it is what the others are compared with');
    const cpu = await openDevice('cpu');
    const expected = await pass(cpu, name);
    const got = await pass(await open(), name);
    const check = (quantity: string, error: number, tolerance: number) =>
      conform({ file: `unet/${name}`, id: name, device: id }, `reduced, against the CPU: ${quantity}`, error, tolerance);
    check('output, relative L2', relL2(got.out, expected.out), 1e-5);
    check('output, max abs', maxAbs(got.out, expected.out), 5e-5);
    check('loss, relative', Math.abs(got.loss / expected.loss - 1), 1e-5);
    check('gradient of the images, relative L2', relL2(got.gradX, expected.gradX), 5e-5);
    expect([...got.gradients.keys()]).toEqual([...expected.gradients.keys()]);
    const total = Math.hypot(...[...expected.gradients.values()].map((gradient) => Math.hypot(...gradient)));
    for (const [parameter, gradient] of expected.gradients) {
      // Some are 0 but for rounding: the bias of K, and what a norm of single channels takes away.
      if (Math.hypot(...gradient) < 1e-6 * total) continue;
      check(`gradient of ${parameter}, relative L2`, relL2(got.gradients.get(parameter) as Float32Array, gradient), 1e-4);
    }
    await cpu.close();
  });
});
