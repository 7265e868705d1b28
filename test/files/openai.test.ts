import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Device } from '../../lib/device.js';
import { FileFormatError, OptionError } from '../../lib/errors.js';
import { writeSafetensors } from '../../lib/files/safetensors.js';
import type { OpenAiOptions } from '../../lib/nn/openaiOptions.js';
import { UNet } from '../../lib/nn/unet.js';
import { hashAll, loadCase, referenceModel, type UNetCase } from '../nn/unetGolden.js';
import { conform } from '../support/conformance.js';
import { eachDevice } from '../support/devices.js';
import { sharedGolden, whyNoGolden } from '../support/shared.js';
import { temporaryFolder } from '../support/temporaryFolder.js';
import { pickleOf, zipOf } from '../support/torchFile.js';

const temporary = temporaryFolder();
const cases = ['unet/o3_guided_updown', 'unet/o4_guided_neworder_pool'];

/** What OpenAI's code would save of a case: the state dict of its network. */
async function checkpoint(one: UNetCase, change: (tensors: Map<string, number[]>) => void = () => undefined): Promise<string> {
  const weights = hashAll(one);
  const shapes = new Map(one.params.map(({ name, shape }) => [name, shape]));
  change(shapes);
  const size = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);
  const strides = (shape: readonly number[]) => shape.map((_, axis) => size(shape.slice(axis + 1)));
  const names = [...shapes.keys()];
  const tensors = Array.from(shapes, ([name, shape], key) => [
    name,
    { shape, strides: strides(shape), offset: 0, elements: size(shape), key: `${key}` },
  ]);
  const storages = names.map((name, key) => [
    `ema/data/${key}`,
    weights.get(name)?.length === size(shapes.get(name) as number[])
      ? weights.get(name)
      : new Float32Array(size(shapes.get(name) as number[])),
  ]);
  const path = join(temporary, 'ema_0.9999_500000.pt');
  await writeFile(path, zipOf({ 'ema/data.pkl': pickleOf(Object.fromEntries(tensors)), ...Object.fromEntries(storages) }));
  return path;
}

async function asSafetensors(one: UNetCase): Promise<string> {
  const path = join(temporary, 'ema.safetensors');
  const weights = hashAll(one);
  await writeSafetensors(
    path,
    one.params.map(({ name, shape }) => ({ name, shape, data: weights.get(name) as Float32Array })),
  );
  return path;
}

eachDevice((id, open) => {
  async function expectLoaded(device: Device, folder: string, paths: readonly string[]): Promise<void> {
    const one = await loadCase(folder);
    const { model: expected } = await referenceModel(device, folder, one);
    for (const path of paths) {
      using model = await UNet.loadOpenAI(device, path, one.kwargs as OpenAiOptions);
      expect([...model.parameters().keys()].sort()).toEqual([...expected.parameters().keys()].sort());
      let different = 0;
      for (const [name, parameter] of model.parameters()) {
        const [values, wanted] = [await parameter.read(), await expected.parameters().get(name)?.read()];
        for (const [i, value] of values.entries()) if (!Object.is(value, wanted?.[i])) different++;
      }
      conform(
        { file: `unet/${one.id}`, id: one.id, device: `${id} load` },
        'weights that loadOpenAI reads differently',
        different,
        0,
      );
    }
    expected.dispose();
  }

  test.each(cases)('%s: a .pt and a .safetensors file', async (folder) => {
    const device = await open();
    const one = await loadCase(folder);
    await expectLoaded(device, folder, [await checkpoint(one), await asSafetensors(one)]);
  });

  test('files of the reference data', async (context) => {
    if (!sharedGolden) return context.skip(whyNoGolden);
    const device = await open();
    for (const name of ['o1_iddpm_plain', 'o2_iddpm_ss_cls_sigma']) {
      const folder = join(sharedGolden, 'unet', name);
      await expectLoaded(device, folder, [join(folder, 'weights.safetensors')]);
    }
  });

  test('UNet.load reads them by the arguments as config', async () => {
    const device = await open();
    const one = await loadCase(cases[0] as string);
    const config = one.kwargs as OpenAiOptions;
    const path = await checkpoint(one);
    using wanted = await UNet.loadOpenAI(device, path, { ...config, use_checkpoint: true });
    using model = await UNet.load(device, path, { config, gradientCheckpointing: true });
    expect(model.config).toEqual(wanted.config);
    for (const [name, parameter] of model.parameters())
      expect(await parameter.read(), name).toEqual(await wanted.parameters().get(name)?.read());
    const unknown = { ...config, numHeads: 3 };
    await expect(UNet.load(device, path, { config: unknown })).rejects.toThrow(/^UNet\.load: unknown option 'numHeads'/);
    const inDiffusersWords = UNet.load(device, path, { config: { layers_per_block: 1, num_res_blocks: 1 } });
    await expect(inDiffusersWords).rejects.toThrow(/names are OpenAI's, which UNet\.loadOpenAI reads/);
  });

  test('files that the arguments do not describe', async () => {
    const device = await open();
    const before = device.memory().usedBytes;
    const one = await loadCase(cases[0] as string);
    const options = one.kwargs as OpenAiOptions;
    const refuse = async (path: string, given: object, type: new (...args: never[]) => Error, message: RegExp) => {
      const loading = UNet.loadOpenAI(device, path, given as OpenAiOptions);
      await expect(loading).rejects.toThrow(type);
      await expect(loading).rejects.toThrow(message);
    };
    const good = await checkpoint(one);
    await refuse(good, { ...options, num_res_blocks: options.num_res_blocks + 1 }, FileFormatError, /lacks input_blocks\./);
    await refuse(
      good,
      { ...options, in_channels: 5 },
      FileFormatError,
      /'input_blocks\.0\.0\.weight' must have shape \[\d+,5,3,3\]/,
    );
    await refuse(good, { ...options, numHeads: 3 }, OptionError, /unknown option 'numHeads'/);
    await refuse(good, {}, OptionError, /'num_res_blocks' is required/);
    await refuse(join(temporary, 'nowhere.pt'), options, FileFormatError, /cannot read '.*nowhere\.pt'/);
    const qkv = one.params.find(({ name }) => name.endsWith('qkv.weight'))?.name as string;
    const changed = (change: (tensors: Map<string, number[]>) => void) => checkpoint(one, change);
    await refuse(await changed((tensors) => tensors.delete(qkv)), options, FileFormatError, new RegExp(`lacks ${qkv}$`));
    const flat = await changed((tensors) => tensors.set(qkv, (tensors.get(qkv) as number[]).slice(0, 2)));
    await refuse(flat, options, FileFormatError, new RegExp(`'${qkv}' must have shape \\[\\d+,\\d+,1\\], got`));
    await refuse(await changed((tensors) => tensors.set('extra', [2])), options, FileFormatError, /no place for: extra$/);
    const names = { 'conv_in.weight': { shape: [1], strides: [1], offset: 0, elements: 1 } };
    await writeFile(good, zipOf({ 'a/data.pkl': pickleOf(names), 'a/data/0': Buffer.alloc(4) }));
    await refuse(good, options, FileFormatError, /names are diffusers', which UNet\.load reads/);
    expect(device.memory().usedBytes).toBe(before);
  });
});
