import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { UNet } from '../../lib/nn/unet.js';
import type { UNetOptions } from '../../lib/nn/unetOptions.js';
import { eachDevice } from '../support/devices.js';
import { loadGoldenJson } from '../support/golden.js';
import { temporaryFolder } from '../support/temporaryFolder.js';

const temporary = temporaryFolder();
const small = { block_out_channels: [8, 16], norm_num_groups: 4, layers_per_block: 1 };
const two = { down_block_types: ['DownBlock2D', 'AttnDownBlock2D'], up_block_types: ['AttnUpBlock2D', 'UpBlock2D'] };
const tiny: UNetOptions = { imageSize: 8, baseChannels: 8, channelMults: [1, 2], resBlocks: 1 };

eachDevice((id, open) => {
  test.each([
    ['d3', loadGoldenJson<object>('unet/d3_resnet_updown_cls/config.json')],
    ['residual blocks without attention', { ...small, down_block_types: ['ResnetDownsampleBlock2D', 'DownBlock2D'] }],
    ['what a later version may add', { ...small, ...two, act_fn: 'swish', some_new_key: { a: [1] } }],
    ['heads that do not divide', { ...small, ...two, attention_head_dim: 5, mid_block_type: null }],
    ['heads by level', { ...small, ...two, attention_head_dim: [8, 4], up_attention_head_dim: [8, 2], time_proj_dim: 6 }],
    ['learned steps', { ...small, ...two, time_embedding_type: 'learned', num_train_timesteps: 10, sample_size: [8, 4] }],
  ])('config in = config out: %s', async (name, given) => {
    const device = await open();
    const config = { up_block_types: ['ResnetUpsampleBlock2D', 'UpBlock2D'], ...given } as Record<string, unknown>;
    using model = UNet.fromDiffusers(device, config, { zeroInit: false, seed: 3 });
    const folder = join(temporary, `${id} ${name}`);
    await model.save(folder);
    const { _class_name, _diffusers_version, ...saved } = JSON.parse(await readFile(join(folder, 'config.json'), 'utf8'));
    const { _class_name: _, _diffusers_version: __, ...wanted } = config;
    expect(saved).toMatchObject(wanted);
    using again = await UNet.load(device, folder);
    expect(again.architecture).toEqual(model.architecture);
    using x = device.randn([1, 8, 4, 3], { seed: 1 });
    const labels = model.numClasses > 0 ? [1] : undefined;
    expect(await again.forward(x, [4], { labels }).read()).toEqual(await model.forward(x, [4], { labels }).read());
  });

  test.each<UNetOptions>([
    { resample: 'resBlock', attentionResolutions: [8, 4], headChannels: 4 },
    { resample: 'pool', attentionResolutions: [4], timeEmbedding: 'scaleShift', attnNormGroups: null },
    { midAttention: false, midBlockScaleFactor: 2, downsamplePadding: 0, flipSinToCos: false, freqShift: 1 },
    { midBlock: false, timeEmbeddingType: 'learned', numTrainTimesteps: 5, timeEmbeddingDim: 12, attnNormGroups: 1 },
    { classEmbedType: 'identity', centerInputSample: true, inChannels: 4, outChannels: 8, gradientCheckpointing: true },
  ])('options, configuration and options again: %o', async (options) => {
    const device = await open();
    using model = new UNet(device, { ...tiny, ...options });
    using again = UNet.fromDiffusers(device, model.architecture, { gradientCheckpointing: options.gradientCheckpointing });
    expect(again.architecture).toEqual(model.architecture);
    using third = new UNet(device, again.config);
    expect(third.architecture).toEqual(model.architecture);
    expect([...third.parameters().keys()]).toEqual([...model.parameters().keys()]);
    for (const [name, value] of Object.entries({ ...tiny, ...options }))
      if (!name.startsWith('head')) expect(again.config[name as keyof UNetOptions], name).toEqual(value);
  });

  test('labels that are embeddings, and steps that are rows', async () => {
    const device = await open();
    using model = new UNet(device, { ...tiny, classEmbedType: 'identity', zeroInit: false });
    using x = device.randn([2, 8, 8, 3], { seed: 1 });
    using labels = device.randn([2, 32], { seed: 2 });
    expect(await model.forward(x, [1, 2], { labels }).read()).not.toEqual(
      await model.forward(x, [1, 2], { labels: device.zeros([2, 32]) }).read(),
    );
    expect(() => model.forward(x, [1, 2], { labels: device.zeros([2, 31]) })).toThrow(/labels must have shape \[2,32\]/);
    expect(() => model.forward(x, [1, 2])).toThrow(/'labels' is required: the network's classEmbedType is 'identity'/);
    using learned = new UNet(device, { ...tiny, timeEmbeddingType: 'learned', numTrainTimesteps: 5 });
    expect(() => learned.forward(x, [1, 5])).toThrow(/t\[1\] must be an integer between 0 and 4, got 5/);
    expect(() => learned.forward(x, [1, 0.5])).toThrow(/t\[1\] must be an integer between 0 and 4, got 0.5/);
    expect(() => learned.forward(x, device.zeros([2]))).toThrow(/t must hold i32, got f32/);
  });
});
