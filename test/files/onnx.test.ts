import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Parameter } from '../../lib/autograd/parameter.js';
import { writeOnnx } from '../../lib/files/onnx/write.js';
import { GaussianDiffusion, ImageDataset, NoiseSchedule, openDevice, Trainer, UNet } from '../../lib/index.js';
import type { Declare } from '../../lib/nn/parameters.js';
import { unetLayers } from '../../lib/nn/unetLayers.js';
import { relL2 } from '../support/compare.js';
import { eachDevice } from '../support/devices.js';
import { onnxDistance, predictByOnnx, predictByUs } from '../support/onnxRuntime.js';
import { decode, messages, strings } from '../support/protobuf.js';
import { temporaryFolder } from '../support/temporaryFolder.js';

const options = {
  imageSize: [4, 6],
  baseChannels: 6,
  channelMults: [1, 2],
  resBlocks: 1,
  attentionResolutions: [2],
  groups: 3,
  heads: 2,
  timeEmbedding: 'scaleShift',
  numClasses: 5,
  zeroInit: false,
  seed: 4,
} as const;
const shape = [2, 3, 4, 6] as const;
const given = {
  x: Float32Array.from({ length: 144 }, (_, i) => Math.sin(3 * i)),
  shape,
  t: [10, 900],
  labels: [4, -1],
};

const folder = temporaryFolder();

/** The smallest and the largest number of inputs of the operators used, and what attributes they have in opset 17. */
const operators: Record<string, [least: number, most: number, attributes: string[]]> = {
  Add: [2, 2, []],
  AveragePool: [1, 1, ['auto_pad', 'ceil_mode', 'count_include_pad', 'kernel_shape', 'pads', 'strides']],
  Cast: [1, 1, ['to']],
  Concat: [1, 99, ['axis']],
  Conv: [2, 3, ['auto_pad', 'dilations', 'group', 'kernel_shape', 'pads', 'strides']],
  Cos: [1, 1, []],
  Div: [2, 2, []],
  Gather: [2, 2, ['axis']],
  Gemm: [2, 3, ['alpha', 'beta', 'transA', 'transB']],
  Identity: [1, 1, []],
  InstanceNormalization: [3, 3, ['epsilon']],
  MatMul: [2, 2, []],
  Mul: [2, 2, []],
  Pad: [2, 3, ['mode']],
  Reshape: [2, 2, ['allowzero']],
  Resize: [
    1,
    4,
    ['coordinate_transformation_mode', 'cubic_coeff_a', 'exclude_outside', 'extrapolation_value', 'mode', 'nearest_mode'],
  ],
  Shape: [1, 1, ['end', 'start']],
  Sigmoid: [1, 1, []],
  Sin: [1, 1, []],
  Softmax: [1, 1, ['axis']],
  Split: [1, 2, ['axis']],
  Sub: [2, 2, []],
  Transpose: [1, 1, ['perm']],
  Unsqueeze: [2, 2, []],
};

eachDevice((id, open) => {
  test('the file holds every weight, and standard nodes that read only what is there', async () => {
    const device = await open();
    using model = new UNet(device, options);
    const path = join(folder, `structure-${id}.onnx`);
    await model.exportOnnx(path);
    const file = decode(await readFile(path));
    expect([file.get(1), messages(file, 8).map((one) => [strings(one, 1), one.get(2)])]).toEqual([[8n], [[[''], [17n]]]]);
    const graph = messages(file, 7)[0];
    if (!graph) throw new Error('no graph');
    const constants = new Map(messages(graph, 5).map((one) => [strings(one, 8)[0], one]));
    for (const [name, constant] of constants) {
      const [bytes] = constant.get(9) as [Buffer];
      const elements = (constant.get(1) ?? []).reduce<number>((product, axis) => product * Number(axis), 1);
      expect(bytes.length, name).toBe(elements * (constant.get(2)?.[0] === 1n ? 4 : 8));
    }
    for (const [key, parameter] of model.parameters()) {
      const found = [...constants].find(([constant]) => constant?.replace(/\[.*\]$/, '') === key)?.[1];
      const bytes = found?.get(9)?.[0] as Buffer;
      const values = new Float32Array(Uint8Array.from(bytes).buffer);
      const expected = await parameter.read();
      expect(values.subarray(0, expected.length), key).toEqual(expected);
    }
    const known = new Set([...constants.keys(), ...messages(graph, 11).flatMap((port) => strings(port, 1)), '']);
    for (const node of messages(graph, 1)) {
      const [type] = strings(node, 4) as [string];
      const [least, most, attributes] = operators[type] ?? [1, 0, []];
      expect(strings(node, 1).length, type).toBeGreaterThanOrEqual(least);
      expect(strings(node, 1).length, type).toBeLessThanOrEqual(most);
      for (const name of messages(node, 5).flatMap((one) => strings(one, 1))) expect(attributes, type).toContain(name);
      for (const input of strings(node, 1)) expect(known, type).toContain(input);
      for (const output of strings(node, 2)) {
        expect(known).not.toContain(output);
        known.add(output);
      }
    }
    expect(known).toContain('out_sample');
    expect(messages(graph, 11).flatMap((port) => strings(port, 1))).toEqual(['sample', 'timestep', 'class_labels']);
    expect(messages(graph, 12).flatMap((port) => strings(port, 1))).toEqual(['out_sample']);
  });

  test('a model that computes in bf16 has the file of one that does not', async (context) => {
    const device = await open();
    if (!device.info.bf16) return context.skip(`${id} does not compute in bf16`);
    using exact = new UNet(device, options);
    using model = new UNet(device, { ...options, dtype: 'bf16' });
    const files = [];
    for (const [i, one] of [exact, model].entries()) {
      const path = join(folder, `${id}-${i}.onnx`);
      await one.exportOnnx(path);
      files.push(await readFile(path));
    }
    expect(files[0]?.equals(files[1] as Buffer)).toBe(true);
    expect(relL2(await predictByUs(model, given), await predictByOnnx(join(folder, `${id}-1.onnx`), given))).toBeLessThan(3e-2);
  });

  test('the average of a training, and the model after it', async () => {
    const device = await open();
    using model = new UNet(device, options);
    const trainer = new Trainer({
      model,
      diffusion: new GaussianDiffusion(device, NoiseSchedule.linear()),
      data: ImageDataset.tensor(new Uint8Array(6 * 72).fill(90), [6, 4, 6, 3], { labels: [0, 1, 2, 3, 4, 0] }),
      batchSize: 2,
      learningRate: 0.05,
      emaDecay: 0.5,
      emaWarmup: false,
    });
    for await (const _ of trainer.run({ steps: 2 }));
    const paths = ['model', 'ema'].map((name) => join(folder, `${name}-${id}.onnx`)) as [string, string];
    await model.exportOnnx(paths[0]);
    await trainer.ema.exportOnnx(paths[1]);
    expect(await onnxDistance(paths[0], model, given)).toBeLessThan(1e-4);
    expect(await onnxDistance(paths[1], trainer.ema, given)).toBeLessThan(1e-4);
    expect(await onnxDistance(paths[1], model, given)).toBeGreaterThan(1e-3);
    trainer.dispose();
  });
});

test('a file that is there is replaced, and nothing else is left', async () => {
  const device = await openDevice('cpu');
  const place = join(folder, 'replaced');
  await mkdir(place);
  const path = join(place, 'unet.onnx');
  for (const seed of [1, 2]) {
    using model = new UNet(device, { ...options, seed });
    await model.exportOnnx(path);
    expect(await onnxDistance(path, model, given)).toBeLessThan(1e-4);
  }
  expect(await readdir(place)).toEqual(['unet.onnx']);
  await device.close();
});

test('what cannot be written', async () => {
  const device = await openDevice('cpu');
  const model = new UNet(device, options);
  const refuse = async (one: UNet, path: unknown, code: string, message: RegExp) => {
    const writing = one.exportOnnx(path as string);
    await expect(writing).rejects.toMatchObject({ code, message: expect.stringMatching(message) as string });
  };
  await refuse(model, '', 'ERR_OPTION', /UNet\.exportOnnx: path must be a string/);
  await refuse(model, undefined, 'ERR_OPTION', /path must be a string .*got undefined/);
  await refuse(model, join(folder, 'nowhere', 'unet.onnx'), 'ERR_FILE_FORMAT', /cannot write '.*nowhere\/unet\.onnx'/);
  await refuse(model, '/proc/unet.onnx', 'ERR_FILE_FORMAT', /cannot write '\/proc\/unet\.onnx'/);
  await mkdir(join(folder, 'taken'));
  await refuse(model, join(folder, 'taken'), 'ERR_FILE_FORMAT', /cannot write '.*taken'/);
  expect((await readdir(folder)).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  const disposed = new UNet(device, options);
  disposed.dispose();
  await refuse(disposed, join(folder, 'a.onnx'), 'ERR_DISPOSED', /UNet\.exportOnnx: the network has been disposed/);
  await device.close();
  await refuse(model, join(folder, 'a.onnx'), 'ERR_DISPOSED', /UNet\.exportOnnx: device 'cpu' is closed/);
});

test('weights of more than 2 GB are refused before any is read', async () => {
  const device = await openDevice('cpu');
  const model = new UNet(device, { ...options, numClasses: 0 });
  const config = { ...model.architecture, block_out_channels: [6, 12_288] };
  await device.close();
  const parameters = new Map<string, Parameter>();
  const declare = ((name: string, size: readonly number[]) => {
    const read = () => Promise.reject(new Error('read'));
    parameters.set(name, { name, shape: size, read } as unknown as Parameter);
  }) as unknown as Declare;
  unetLayers(declare, config, false);
  const path = join(folder, 'large.onnx');
  const writing = writeOnnx(path, config, parameters);
  await expect(writing).rejects.toMatchObject({
    code: 'ERR_FILE_FORMAT',
    message: expect.stringContaining(`cannot write '${path}'`) as string,
  });
  await expect(writing).rejects.toThrow(/holds less than 2147483648 bytes, this network needs \d{11}$/);
  expect(await readdir(folder)).not.toContain('large.onnx');
});
