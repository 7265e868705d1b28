import { cp, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Device } from '../../lib/device.js';
import { FileFormatError, OptionError } from '../../lib/errors.js';
import { loadPipeline } from '../../lib/files/pipeline.js';
import type { SafetensorsEntry } from '../../lib/files/safetensors.js';
import { UNet } from '../../lib/nn/unet.js';
import type { UNetLoadOptions } from '../../lib/nn/unetArguments.js';
import { eachDevice } from '../support/devices.js';
import { oldName, sixteenBit, smallConfig, smallModel, smallWeights, weightsFile, writeModel } from '../support/modelFolder.js';
import { temporaryFolder } from '../support/temporaryFolder.js';

const temporary = temporaryFolder();
const stem = 'diffusion_pytorch_model';
let folders = 0;
const model = (files: Record<string, unknown>) => writeModel(join(temporary, `${folders++}`), files);

/** All tensors in parts, and the index that lists them. */
async function parts(variant = '', rename = (name: string) => name) {
  const files: Record<string, SafetensorsEntry[]> = {};
  const map: Record<string, string> = {};
  for (const [i, entry] of (await smallWeights()).entries()) {
    const file = `${stem}${variant}-0000${(i % 3) + 1}-of-00003.safetensors`;
    const part = files[file] ?? [];
    part.push({ ...entry, name: rename(entry.name) });
    files[file] = part;
    map[rename(entry.name)] = file;
  }
  return { files, index: { metadata: { total_size: 1 }, weight_map: map } };
}

eachDevice((id, open) => {
  async function expectSmallModel(path: string, options?: UNetLoadOptions, round = (values: Float32Array) => values) {
    const device: Device = await open();
    using loaded = await UNet.load(device, path, options);
    for (const { name, data } of await smallWeights())
      expect(await loaded.parameters().get(name)?.read(), name).toEqual(round((await (data as () => unknown)()) as Float32Array));
  }

  test('in a folder, beside the weights, nested, or flat with a model_index.json', async () => {
    const [config, weights] = [await smallConfig(), await smallWeights()];
    await expectSmallModel(await model({ 'config.json': config, [weightsFile]: weights }));
    await expectSmallModel(join(await model({ 'config.json': config, 'any.name.safetensors': weights }), 'any.name.safetensors'));
    const nested = { 'model_index.json': {}, 'unet/config.json': config, [`unet/${weightsFile}`]: weights };
    await expectSmallModel(await model(nested));
    await expectSmallModel(smallModel);
  });

  test('with averaged weights in a checkpoint of diffusers’ training script', async () => {
    const config = await smallConfig();
    const average = { decay: 0.9999, inv_gamma: 1.0, min_decay: 0.0, optimization_step: 500, power: 0.75, update_after_step: 0 };
    const zero = (await smallWeights()).map((entry) => ({
      ...entry,
      data: new Float32Array(entry.shape.reduce((a, b) => a * b, 1)),
    }));
    const folder = await model({
      'unet/config.json': config,
      [`unet/${weightsFile}`]: zero,
      'unet_ema/config.json': { ...config, ...average, use_ema_warmup: true },
      [`unet_ema/${weightsFile}`]: await smallWeights(),
      'random_states_0.pkl': 'of no concern here',
      'scheduler.bin': 'nor this',
    });
    await expectSmallModel(join(folder, 'unet_ema'));
    await expectSmallModel(folder, {}, (values) => values.map(() => 0));
  });

  test('with tokens that JSON does not know, and keys of other versions', async () => {
    const config = JSON.stringify({
      ...(await smallConfig()),
      new_key: '?',
      another: [1, { deep: null }],
      add_attention: undefined,
    });
    const text = config.replace('"?"', '[-Infinity, NaN, Infinity]').replace('"_diffusers_version"', '"_version"');
    expect(text).toContain('NaN');
    await expectSmallModel(await model({ 'config.json': text, [weightsFile]: await smallWeights() }));
  });

  test.each(['BF16', 'F16'] as const)('in %s', async (dtype) => {
    const folder = await model({ 'config.json': await smallConfig() });
    await writeFile(join(folder, `${stem}.low.safetensors`), await sixteenBit(await smallWeights(), dtype));
    const truncated = (values: Float32Array) =>
      new Float32Array(new Uint32Array(values.buffer).map((bits) => bits & 0xffff0000).buffer);
    await expectSmallModel(folder, {}, dtype === 'BF16' ? truncated : undefined);
    await expectSmallModel(folder, { variant: 'low' }, dtype === 'BF16' ? truncated : undefined);
  });

  test.each([
    ['', `${weightsFile}.index.json`],
    ['.fp16', `${weightsFile}.index.fp16.json`],
    ['.fp16', `${stem}.fp16.safetensors.index.json`],
  ])('in parts%s, listed by %s', async (variant, index) => {
    const all = await parts(variant);
    const folder = await model({ 'config.json': await smallConfig(), [index]: all.index, ...all.files });
    await expectSmallModel(folder);
    if (variant) await expectSmallModel(folder, { variant: 'fp16' });
    const [first] = Object.keys(all.files) as [string];
    await rename(join(folder, first), join(folder, 'elsewhere'));
    await expect(expectSmallModel(folder)).rejects.toThrow(new RegExp(`cannot read.*${first}`));
  });

  test('in parts with names of diffusers 0.16', async () => {
    const { files, index } = await parts('', oldName);
    expect(Object.keys(index.weight_map).some((name) => name.endsWith('.proj_attn.bias'))).toBe(true);
    await expectSmallModel(await model({ 'config.json': await smallConfig(), [`${weightsFile}.index.json`]: index, ...files }));
  });

  test('with a configuration that is given', async () => {
    const folder = await model({ 'weights.safetensors': await smallWeights(), [weightsFile]: await smallWeights() });
    const config = await smallConfig();
    await expectSmallModel(join(folder, 'weights.safetensors'), { config });
    await expectSmallModel(folder, { config });
    await expect(expectSmallModel(folder)).rejects.toThrow(/neither config\.json/);
    await expect(expectSmallModel(folder, { config: { ...config, act_fn: 'gelu' } })).rejects.toThrow(OptionError);
    await expect(expectSmallModel(folder, { config: { ...config, act_fn: 'gelu' } })).rejects.toThrow(
      /option 'config': key 'act_fn'/,
    );
    await expect(expectSmallModel(folder, { config: [] as object as never })).rejects.toThrow(OptionError);
  });

  test('what several files or none leave open', async () => {
    const [config, weights] = [await smallConfig(), await smallWeights()];
    const refuse = async (files: Record<string, unknown>, message: RegExp, options?: UNetLoadOptions) => {
      const loading = expectSmallModel(await model({ 'config.json': config, ...files }), options);
      await expect(loading).rejects.toThrow(FileFormatError);
      await expect(loading).rejects.toThrow(message);
    };
    await refuse({}, /has no diffusion_pytorch_model\.safetensors or \.bin$/);
    const variants = { [`${stem}.a.safetensors`]: weights, [`${stem}.b.safetensors`]: weights };
    await refuse(variants, /there are .*\.a\.safetensors, .*\.b\.safetensors: name one's variant/);
    await refuse(variants, /has no diffusion_pytorch_model\.c\.safetensors/, { variant: 'c' });
    const { files, index } = await parts();
    const [[name, entries]] = Object.entries(files) as [[string, SafetensorsEntry[]]];
    const twice = { ...index.weight_map, extra: 'extra.safetensors' };
    const indexName = `${weightsFile}.index.json`;
    await refuse({ ...files, 'extra.safetensors': entries.slice(0, 1), [indexName]: { weight_map: twice } }, /a second time/);
    await refuse({ [indexName]: { weight_map: { a: '../../secret.safetensors' } } }, /weight_map must name/);
    for (const odd of [null, [], '"text"', { weight_map: null }, { weight_map: { a: 3 } }, { weight_map: 'abc' }])
      await refuse({ [indexName]: odd }, /weight_map must name/);
    await refuse({ ...files, [name]: entries.slice(1), [indexName]: index }, /lacks/);
    const integer = { ...(weights[0] as SafetensorsEntry), data: new Int32Array(0), shape: [0] };
    await refuse({ [weightsFile]: [integer, ...weights.slice(1)] }, /must be F64, F32, F16 or BF16, got I32/);
  });

  test('a pipeline of one variant', async () => {
    const device = await open();
    const folder = join(temporary, `${id}-pipeline`);
    await cp(smallModel, folder, { recursive: true });
    await rename(join(folder, weightsFile), join(folder, `${stem}.ema.safetensors`));
    for (const options of [{}, { variant: 'ema' }]) (await loadPipeline(device, folder, options)).model.dispose();
    await expect(loadPipeline(device, folder, { variant: 'fp16' })).rejects.toThrow(/fp16/);
    await expect(loadPipeline(device, folder, { variants: 'ema' } as object)).rejects.toThrow(/unknown option 'variants'/);
    const scheduler = JSON.parse(await readFile(join(folder, 'scheduler_config.json'), 'utf8'));
    const text = JSON.stringify({ ...scheduler, lambda_min_clipped: '?', extra: null }).replace('"?"', '-Infinity');
    await writeFile(join(folder, 'scheduler_config.json'), text);
    const loaded = await loadPipeline(device, folder);
    expect(loaded.schedulerConfig.lambda_min_clipped).toBe(-Infinity);
    loaded.model.dispose();
  });

  test('a configuration that is far larger than its weights allocates nothing', async () => {
    const device = await open();
    const before = device.memory();
    for (const huge of [
      { block_out_channels: [2 ** 40, 2 ** 41], norm_num_groups: 1 },
      { layers_per_block: Number.MAX_SAFE_INTEGER },
      { in_channels: Number.MAX_SAFE_INTEGER, num_class_embeds: Number.MAX_SAFE_INTEGER },
    ]) {
      const folder = await model({ 'config.json': { ...(await smallConfig()), ...huge }, [weightsFile]: await smallWeights() });
      await expect(UNet.load(device, folder)).rejects.toThrow(FileFormatError);
    }
    expect(device.memory()).toEqual(before);
  });
});
