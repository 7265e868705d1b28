import { copyFile, cp, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Device } from '../../lib/device.js';
import { DTypeError, FileFormatError, OptionError } from '../../lib/errors.js';
import { readSafetensors, type SafetensorsEntry, writeSafetensors } from '../../lib/files/safetensors.js';
import { UNet } from '../../lib/nn/unet.js';
import { eachDevice } from '../support/devices.js';
import { goldenPath, sharedGolden } from '../support/shared.js';
import { temporaryFolder } from '../support/temporaryFolder.js';

const temporary = temporaryFolder();
const d1 = goldenPath('unet/d1_cifar_style');
const weights = 'diffusion_pytorch_model.safetensors';
let folders = 0;

/** A copy of d1's model folder, with other configuration entries (undefined: none) or other tensors. */
async function variantOfD1(config: object, change: (entries: SafetensorsEntry[]) => SafetensorsEntry[] = (entries) => entries) {
  const folder = join(temporary, `d1-${folders++}`);
  await mkdir(folder);
  const json = JSON.parse(await readFile(join(d1, 'config.json'), 'utf8'));
  await writeFile(join(folder, 'config.json'), JSON.stringify({ ...json, ...config }));
  const { tensors } = await readSafetensors(join(d1, weights));
  const entries = [...tensors.values()].map(({ name, shape, data }) => ({ name, shape, data: () => data() }));
  await writeSafetensors(join(folder, weights), change(entries));
  return folder;
}

async function outputOf(device: Device, model: UNet): Promise<Float32Array> {
  const [h, w] = model.imageSize as [number, number];
  const xt = device.randn([2, h, w, model.inChannels], { seed: 1 });
  return (await model.forward(xt, [3, 777]).read()) as Float32Array;
}

const reject = (promise: Promise<unknown>, type: new (...args: never[]) => Error, message: RegExp) =>
  promise.then(
    () => expect.unreachable('should have been rejected'),
    (error) => {
      expect(error).toBeInstanceOf(type);
      expect(error.message).toMatch(message);
    },
  );

eachDevice((id, open) => {
  test('a saved folder holds the same keys and bytes as the one it came from', async () => {
    const device = await open();
    using model = await UNet.load(device, d1);
    const folder = join(temporary, `${id}-saved`);
    await model.save(folder);
    expect(await readFile(join(folder, weights))).toEqual(await readFile(join(d1, weights)));
    const text = await readFile(join(folder, 'config.json'), 'utf8');
    const written = JSON.parse(text);
    const { _diffusers_version, ...original } = JSON.parse(await readFile(join(d1, 'config.json'), 'utf8'));
    expect(written).toMatchObject(original);
    expect(Object.keys(written)).toEqual(Object.keys(written).sort());
    expect(text.endsWith('}\n')).toBe(true);
    using again = await UNet.load(device, folder);
    expect(await outputOf(device, again)).toEqual(await outputOf(device, model));
  });

  test.each([
    { imageSize: 8, baseChannels: 8, channelMults: [1, 2], attentionResolutions: [4], headChannels: 4, zeroInit: false },
    {
      imageSize: [8, 12] as [number, number],
      inChannels: 2,
      outChannels: 4,
      baseChannels: 12,
      channelMults: [1, 2, 1],
      resBlocks: 1,
      attentionResolutions: [8, 4],
      heads: 2,
      timeEmbedding: 'scaleShift' as const,
      groups: 4,
      numClasses: 3,
      dropout: 0.1,
      normEps: 1e-6,
      zeroInit: false,
    },
  ])('options survive saving and loading: %o', async (options) => {
    const device = await open();
    using model = new UNet(device, options);
    const folder = join(temporary, `${id}-options-${folders++}`);
    await model.save(folder);
    using again = await UNet.load(device, folder);
    const { zeroInit, ...kept } = options;
    expect(again.config).toMatchObject(kept);
    expect(again.architecture).toEqual(model.architecture);
    for (const [name, parameter] of model.parameters())
      expect(await again.parameters().get(name)?.read(), name).toEqual(await parameter.read());
  });

  test('a pipeline folder, a weight file and a model folder load alike', async () => {
    const device = await open();
    const pipeline = goldenPath('unet/d2_default_ss');
    const outputs = [];
    for (const path of [pipeline, join(pipeline, 'unet'), join(pipeline, 'unet', weights)]) {
      using model = await UNet.load(device, path);
      outputs.push(await outputOf(device, model));
    }
    expect(outputs[1]).toEqual(outputs[0]);
    expect(outputs[2]).toEqual(outputs[0]);
  });

  test('attention keys of diffusers 0.16 and entries that old files lack', async () => {
    const device = await open();
    const folder = await variantOfD1({ add_attention: undefined, downsample_type: undefined, some_new_key: 1 }, (entries) =>
      entries.map((entry) => ({
        ...entry,
        name: entry.name
          .replace('.to_q.', '.query.')
          .replace('.to_k.', '.key.')
          .replace('.to_v.', '.value.')
          .replace('.to_out.0.', '.proj_attn.'),
      })),
    );
    using old = await UNet.load(device, folder);
    using model = await UNet.load(device, d1);
    expect(await outputOf(device, old)).toEqual(await outputOf(device, model));
    if (!sharedGolden) return;
    using real = await UNet.load(device, join(sharedGolden, 'unet/d5_legacy_attention_keys'));
    expect(await outputOf(device, real)).toEqual(await outputOf(device, model));
  });

  test('variants: the one that is named, or the only one', async () => {
    const device = await open();
    const folder = await variantOfD1({});
    await copyFile(join(folder, weights), join(folder, 'diffusion_pytorch_model.fp16.safetensors'));
    (await UNet.load(device, folder, { variant: 'fp16' })).dispose();
    await reject(UNet.load(device, folder, { variant: 'bf16' }), FileFormatError, /bf16\.safetensors or \.bin; there are .*fp16/);
    await rename(join(folder, weights), join(folder, 'diffusion_pytorch_model.ema.safetensors'));
    await reject(UNet.load(device, folder), FileFormatError, /ema\.safetensors.*'variant'/);
    await rename(join(folder, 'diffusion_pytorch_model.ema.safetensors'), join(folder, 'other'));
    (await UNet.load(device, folder)).dispose();
  });

  test('weights in several files', async () => {
    const device = await open();
    const folder = await variantOfD1({});
    const { tensors } = await readSafetensors(join(folder, weights));
    const map: Record<string, string> = {};
    for (const part of [0, 1]) {
      const file = `diffusion_pytorch_model-0000${part + 1}-of-00002.safetensors`;
      const entries = [...tensors.values()].filter((_, i) => i % 2 === part);
      for (const { name } of entries) map[name] = file;
      await writeSafetensors(
        join(folder, file),
        entries.map(({ name, shape, data }) => ({ name, shape, data: () => data() })),
      );
    }
    await rename(join(folder, weights), join(folder, 'whole'));
    await writeFile(join(folder, `${weights}.index.json`), JSON.stringify({ weight_map: map }));
    using parts = await UNet.load(device, folder);
    using model = await UNet.load(device, d1);
    expect(await outputOf(device, parts)).toEqual(await outputOf(device, model));
  });

  test.each([
    [{ act_fn: 'gelu' }, /config\.json': key 'act_fn' must be one of 'silu', 'swish', got 'gelu'/],
    [{ class_embed_type: 'projection' }, /'class_embed_type' must be one of 'timestep', 'identity', got 'projection'/],
    [{ downsample_type: 'fir' }, /'downsample_type' must be one of 'conv', 'resnet', got 'fir'/],
    [{ time_embedding_type: 'fourier' }, /'time_embedding_type' must be one of 'positional', 'learned', got 'fourier'/],
    [{ down_block_types: ['SkipDownBlock2D', 'AttnDownBlock2D'] }, /'down_block_types\.0' must be .*'SkipDownBlock2D'/],
    [{ sample_size: [8, 8, 8] }, /'sample_size' must be a positive integer, \[height, width\] or null, got \[8, 8, 8\]/],
    [{ mid_block_scale_factor: 0 }, /'mid_block_scale_factor' must be a finite number other than 0, got 0/],
    [{ block_out_channels: [8, 16, 16] }, /down_block_types has 2 entries, but block_out_channels has 3/],
    [{ norm_num_groups: 3 }, /norm_num_groups 3 does not divide 8/],
    [{ _class_name: 'UNet2DConditionModel' }, /_class_name must be 'UNet2DModel'/],
    [{ num_class_embeds: 4 }, /lacks class_embedding\.weight/],
    [{ add_attention: false }, /no place for: mid_block\.attentions\.0/],
    [{ in_channels: 4 }, /'conv_in\.weight' must have shape \[8,4,3,3\], got \[8,3,3,3\]/],
  ])('a configuration that is not this network: %o', async (config, message) => {
    const device = await open();
    const before = device.memory().usedBytes;
    await reject(
      variantOfD1(config).then((folder) => UNet.load(device, folder)),
      FileFormatError,
      message,
    );
    expect(device.memory().usedBytes).toBe(before);
  });

  test('what cannot be read', async () => {
    const device = await open();
    await reject(UNet.load(device, join(temporary, 'nowhere')), FileFormatError, /nowhere' does not exist/);
    await reject(UNet.load(device, join(d1, 'config.json')), FileFormatError, /neither a folder nor a file of weights/);
    await reject(UNet.load(device, temporary), FileFormatError, /neither config\.json nor unet\/config\.json/);
    const folder = await variantOfD1({});
    const bytes = await readFile(join(folder, weights));
    await writeFile(join(folder, weights), bytes.subarray(0, -100));
    await reject(UNet.load(device, folder), FileFormatError, /safetensors/);
    const broken = join(temporary, 'broken');
    await cp(folder, broken, { recursive: true });
    await writeFile(join(broken, 'config.json'), '{ "act_fn": ');
    await reject(UNet.load(device, broken), FileFormatError, /config\.json' is not valid JSON/);
    if (device.info.bf16) expect((await UNet.load(device, d1, { dtype: 'bf16' })).config.dtype).toBe('bf16');
    else await reject(UNet.load(device, d1, { dtype: 'bf16' }), DTypeError, /bf16/);
    await reject(UNet.load(device, d1, { varient: 'fp16' } as object), OptionError, /unknown option 'varient'/);
  });
});
