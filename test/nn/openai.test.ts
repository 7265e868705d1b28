import { expect, test } from 'vitest';
import { OptionError } from '../../lib/errors.js';
import { openAiNetwork } from '../../lib/nn/openaiConfig.js';
import { openAiTensors } from '../../lib/nn/openaiKeys.js';
import type { OpenAiOptions } from '../../lib/nn/openaiOptions.js';
import { UNet } from '../../lib/nn/unet.js';
import { openDevice } from '../../lib/openDevice.js';
import { sizeOf } from '../../lib/tensor.js';

const adm = { model_channels: 32, num_res_blocks: 1, attention_resolutions: [2], channel_mult: [1, 2] } satisfies OpenAiOptions;
const configOf = (options: object) => openAiNetwork('test', { ...adm, ...options }).config;

test("the scripts' spellings are the constructor's", () => {
  const script = configOf({
    model_channels: undefined,
    num_channels: 64,
    image_size: 64,
    channel_mult: '',
    attention_resolutions: '16,8',
    learn_sigma: true,
    class_cond: true,
  });
  const constructed = configOf({
    model_channels: 64,
    image_size: 64,
    channel_mult: [1, 2, 3, 4],
    attention_resolutions: [4, 8],
    out_channels: 6,
    num_classes: 1000,
  });
  expect(script).toEqual(constructed);
  expect(script).toMatchObject({
    sample_size: 64,
    block_out_channels: [64, 128, 192, 256],
    out_channels: 6,
    num_class_embeds: 1000,
  });
  expect(configOf({ channel_mult: '1, 2' }).block_out_channels).toEqual([32, 64]);
});

test('heads as diffusers counts them, and where it cannot', () => {
  expect(configOf({}).attention_head_dim).toBe(null);
  expect(configOf({ num_heads: 4 }).attention_head_dim).toBe(16); // 64 channels at the one level that attends
  expect(configOf({ num_heads: 4, attention_resolutions: [1, 2] }).attention_head_dim).toEqual([8, 16]);
  expect(configOf({ num_head_channels: 32, num_heads: 4, num_heads_upsample: 2 }).attention_head_dim).toBe(32);
  const both = configOf({ num_heads: 4, num_heads_upsample: 2 });
  expect([both.attention_head_dim, both.up_attention_head_dim]).toEqual([
    [8, 16],
    [16, 32],
  ]);
});

test.each([
  [{ model_channels: undefined }, /'model_channels' must be given/],
  [{ num_channels: 32 }, /'num_channels' must be left out where model_channels is given/],
  [{ num_res_blocks: undefined }, /'num_res_blocks' is required|'num_res_blocks' must be/],
  [
    { attention_resolutions: '16' },
    /'attention_resolutions' must be reductions, or sizes like '16,8' beside image_size, got '16'/,
  ],
  [{ attention_resolutions: '16,x', image_size: 32 }, /'attention_resolutions' must be/],
  [{ channel_mult: '', image_size: 48 }, /'channel_mult' must be given where image_size is not one of 32,64,128,256,512/],
  [{ channel_mult: '1,-2' }, /'channel_mult' must be an array of one or more positive numbers/],
  [{ model_channels: 48 }, /norm_num_groups 32 does not divide 48 channels/],
  [{ num_heads: 3 }, /'num_heads' must be a divisor of the attention's channels 64, got 3/],
  [{ num_heads_upsample: 3 }, /'num_heads_upsample' must be a divisor/],
  [{ num_head_channels: 0 }, /'num_head_channels' must be a divisor/],
  [{ learn_sigma: true, out_channels: 3 }, /'out_channels' must be 6 with learn_sigma, got 3/],
  [{ use_fp16: true }, /'use_fp16' must be false: what is computed in is said by option 'dtype'/],
  [{ dims: 3 }, /'dims' must be 2, got 3/],
  [{ diffusion_steps: 1000 }, /unknown option 'diffusion_steps'/],
])('wrong arguments: %o', (options, message) => {
  expect(() => configOf(options)).toThrow(OptionError);
  expect(() => configOf(options)).toThrow(message);
});

test.each<[string, Partial<OpenAiOptions>]>([
  ['convolutions', { num_heads: 4, num_heads_upsample: 2 }],
  ['residual blocks, new order', { resblock_updown: true, use_new_attention_order: true, num_head_channels: 16, num_classes: 3 }],
  [
    'pooling, narrow first level',
    { conv_resample: false, channel_mult: [0.5, 1], model_channels: 64, attention_resolutions: [1] },
  ],
])('every parameter has its place, there and back: %s', async (_name, options) => {
  const device = await openDevice('cpu');
  const given = { ...adm, ...options };
  const { config, newAttentionOrder } = openAiNetwork('test', given);
  expect(newAttentionOrder).toBe(given.use_new_attention_order ?? false);
  using model = UNet.fromDiffusers(device, config, { zeroInit: false });
  const tensors = openAiTensors(given);
  const parameters = model.parameters();
  expect([...tensors.keys()].sort()).toEqual([...parameters.keys()].sort());
  const file = new Map<string, Float32Array>();
  for (const [name, { from, shape, put }] of tensors) {
    const parameter = parameters.get(name);
    const size = sizeOf(shape(parameter?.shape ?? []));
    if (!file.has(from)) file.set(from, new Float32Array(size).fill(Number.NaN));
    expect(file.get(from)?.length, name).toBe(size);
    put((await parameter?.read()) as Float32Array, file.get(from) as Float32Array);
  }
  for (const [name, values] of file) expect(values.some(Number.isNaN), name).toBe(false);
  for (const [name, { from, take }] of tensors)
    expect(take(file.get(from) as Float32Array), name).toEqual(await parameters.get(name)?.read());
  using x = device.zeros([1, 8, 8, 3]);
  expect((await model.forward(x, [3], given.num_classes ? { labels: [2] } : {}).read()).every(Number.isFinite)).toBe(true);
  await device.close();
});
