import { cp, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Device } from '../../lib/device.js';
import { FileFormatError } from '../../lib/errors.js';
import { UNet } from '../../lib/nn/unet.js';
import type { UNetLoadOptions } from '../../lib/nn/unetArguments.js';
import { eachDevice } from '../support/devices.js';
import { loadGolden } from '../support/golden.js';
import { oldName, smallConfig, smallModel, smallWeights, weightsFile, writeModel } from '../support/modelFolder.js';
import { goldenPath } from '../support/shared.js';
import { temporaryFolder } from '../support/temporaryFolder.js';
import { type CraftedTensor, pickleOf, zipOf } from '../support/torchFile.js';

const temporary = temporaryFolder();
const tiny = goldenPath('files/tiny');
const stem = 'diffusion_pytorch_model';
let folders = 0;

/** What `torch.save` would write of some of the small model's tensors, each [out, in, …] stored as [in, out, …] and viewed. */
async function torchFile(rename = (name: string) => name, take = (_: number) => true): Promise<Buffer> {
  const tensors: Record<string, CraftedTensor> = {};
  const storages: Record<string, Float32Array> = {};
  for (const [i, { name, shape, data }] of (await smallWeights()).filter((_, i) => take(i)).entries()) {
    const values = (await (data as () => unknown)()) as Float32Array;
    const [out = 1, inner = 1, ...kernel] = shape;
    const rest = kernel.reduce((a, b) => a * b, 1);
    const moved = new Float32Array(values.length);
    for (let at = 0; at < values.length; at++) {
      const [o, c, k] = [Math.floor(at / (inner * rest)), Math.floor(at / rest) % inner, at % rest];
      moved[(c * out + o) * rest + k] = values[at] as number;
    }
    const strides = [rest, out * rest, ...kernel.map((_, axis) => kernel.slice(axis + 1).reduce((a, b) => a * b, 1))];
    const key = `${i}`;
    tensors[rename(name)] = { shape, strides: strides.slice(0, shape.length), offset: 0, elements: values.length, key };
    storages[`archive/data/${key}`] = moved;
  }
  return zipOf({ 'archive/data.pkl': pickleOf(tensors), ...storages });
}

eachDevice((id, open) => {
  async function expectSmallModel(path: string, options?: UNetLoadOptions) {
    const device: Device = await open();
    using model = await UNet.load(device, path, options);
    for (const { name, data } of await smallWeights())
      expect(await model.parameters().get(name)?.read(), name).toEqual(await (data as () => unknown)());
  }

  test('a folder of diffusers without safetensors, in float32 and float16', async () => {
    const device = await open();
    const golden = await loadGolden('files/tiny/io.safetensors');
    const [x, t] = [golden.get('x'), golden.get('t')];
    const half = join(temporary, `${id}-half`);
    await cp(tiny, half, { recursive: true });
    await rm(join(half, `${stem}.bin`));
    for (const [path, options, expected] of [
      [tiny, {}, 'output'],
      [tiny, { variant: 'fp16' }, 'half_output'],
      [join(tiny, `${stem}.bin`), {}, 'output'],
      [half, {}, 'half_output'],
    ] as const) {
      using model = await UNet.load(device, path, options);
      const xt = device.tensor(x?.values as Float32Array, x?.shape as number[], { layout: 'nchw' });
      const output = await model.forward(xt, t?.values as Float32Array).read({ layout: 'nchw' });
      const wanted = golden.get(expected)?.values as Float32Array;
      expect(Math.max(...output.map((value, i) => Math.abs(value - (wanted[i] as number)))), expected).toBeLessThan(1e-5);
    }
  });

  test('views, names of diffusers 0.16, in one file or in parts', async () => {
    const whole = await writeModel(join(temporary, `${folders++}`), { 'config.json': await smallConfig() });
    await writeFile(join(whole, `${stem}.bin`), await torchFile());
    await expectSmallModel(whole);
    await writeFile(join(whole, `${stem}.bin`), await torchFile(oldName));
    await expectSmallModel(whole);
    await rename(join(whole, `${stem}.bin`), join(whole, 'model.ckpt'));
    await expectSmallModel(join(whole, 'model.ckpt'));

    const map = Object.fromEntries(
      (await smallWeights()).map(({ name }, i) => [oldName(name), `${stem}-0000${(i % 2) + 1}-of-00002.bin`]),
    );
    const files = { 'config.json': await smallConfig(), [`${stem}.bin.index.json`]: { weight_map: map } };
    const parts = await writeModel(join(temporary, `${folders++}`), files);
    for (const part of [0, 1])
      await writeFile(join(parts, `${stem}-0000${part + 1}-of-00002.bin`), await torchFile(oldName, (i) => i % 2 === part));
    await expectSmallModel(parts);
  });

  test('safetensors come first', async () => {
    const folder = join(temporary, `${folders++}`);
    await mkdir(folder);
    for (const name of ['config.json', weightsFile]) await cp(join(smallModel, name), join(folder, name));
    await writeFile(join(folder, `${stem}.bin`), 'not looked at');
    await expectSmallModel(folder);
    await rm(join(folder, weightsFile));
    await expect(expectSmallModel(folder)).rejects.toThrow(FileFormatError);
  });

  test('files that are not this network', async () => {
    const device = await open();
    const folder = join(temporary, `${folders++}`);
    await mkdir(folder);
    const path = join(folder, 'weights.pt');
    const config = await smallConfig();
    const refuse = async (bytes: Uint8Array, message: RegExp) => {
      await writeFile(path, bytes);
      await expect(UNet.load(device, path, { config })).rejects.toThrow(message);
    };
    const before = device.memory().usedBytes;
    await refuse(await torchFile(undefined, (i) => i > 0), /weights\.pt' lacks conv_in\.bias$/);
    await refuse(await torchFile((name) => `${name}!`), /weights\.pt' lacks conv_in\.weight/);
    await refuse(await readFile(goldenPath('files/whole-module.pt')), /names torch\.nn\.modules/);
    await refuse(Buffer.from('{"not": "weights"}'), /weights\.pt' is cut short or no safetensors file/);
    const openai = { 'input_blocks.0.0.weight': { shape: [1], strides: [1], offset: 0, elements: 1 } };
    await refuse(zipOf({ 'a/data.pkl': pickleOf(openai), 'a/data/0': Buffer.alloc(4) }), /UNet\.loadOpenAI/);
    expect(device.memory().usedBytes).toBe(before);
  });
});
