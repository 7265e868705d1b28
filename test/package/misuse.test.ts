import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import * as api from '../../lib/index.js';
import { temporaryFolder } from '../support/temporaryFolder.js';

const { DisposedError, DTypeError, FileFormatError, OptionError } = api;
const small = { imageSize: 8, baseChannels: 8, channelMults: [1, 2] };
const folder = temporaryFolder();
let device: api.Device;
let diffusion: api.GaussianDiffusion;
let model: api.UNet;
const images = () => api.ImageDataset.tensor(new Uint8Array(4 * 8 * 8 * 3), [4, 8, 8, 3]);

beforeAll(async () => {
  device = await api.openDevice('cpu', { threads: 1 });
  diffusion = new api.GaussianDiffusion(device, api.NoiseSchedule.cosine({ timesteps: 10 }));
  model = new api.UNet(device, small);
});
afterAll(() => device.close());

describe('what is no options object is an OptionError', () => {
  test('an array', async () => {
    await expect(api.openDevice('cpu', [] as never)).rejects.toThrow(OptionError);
    expect(() => api.NoiseSchedule.linear([] as never)).toThrow(/options must be an object, got \[\]/);
    expect(() => new api.UNet(device, [] as never)).toThrow(OptionError);
  });

  test('null', async () => {
    const x = device.zeros([1, 8, 8, 3]);
    const none = null as never;
    await expect(api.openDevice('cpu', none)).rejects.toThrow(/openDevice: options must be an object, got null/);
    expect(() => api.NoiseSchedule.linear(none)).toThrow(OptionError);
    expect(() => new api.UNet(device, none)).toThrow(OptionError);
    expect(() => diffusion.qSample(x, [1], none)).toThrow(/qSample: options must be an object, got null/);
    expect(() => new api.Sampler(diffusion, model, none)).toThrow(OptionError);
    expect(() => device.zeros([1], none)).toThrow(OptionError);
    await expect(x.read(none)).rejects.toThrow(OptionError);
  });

  test('read and write take layout alone', async () => {
    const x = device.zeros([1, 2, 2, 3]);
    await expect(x.read({ order: 'nchw' } as never)).rejects.toThrow(/read: unknown option 'order'; known options are layout/);
    await expect(x.read(5 as never)).rejects.toThrow(OptionError);
    expect(() => x.write(new Float32Array(12), { order: 'nchw' } as never)).toThrow(OptionError);
    expect((await x.read({ layout: 'nchw' })).length).toBe(12);
  });
});

test('scope, record and noGrad need a function', () => {
  for (const body of [undefined, 5, {}]) {
    expect(() => device.scope(body as never)).toThrow(OptionError);
    expect(() => device.record(body as never)).toThrow(OptionError);
    expect(() => api.noGrad(body as never)).toThrow(/noGrad: a function is needed/);
  }
});

test.each([
  ['u8', [300]],
  ['u8', [-1]],
  ['u8', [Number.NaN]],
  ['i32', [1.5]],
  ['i32', [2 ** 31]],
] as const)('numbers that %s cannot hold are refused: %j', (dtype, data) => {
  expect(() => device.tensor(data, [1], { dtype })).toThrow(DTypeError);
  expect(() => device.zeros([1], { dtype }).write(data)).toThrow(/write: data must be integers from/);
});

test.each([null, undefined, {}, small])('a network needs a device, not %o', async (stranger) => {
  expect(() => new api.UNet(stranger as never, small)).toThrow(/new UNet: device must be a Device/);
  await expect(api.UNet.load(stranger as never, folder)).rejects.toThrow(OptionError);
  await expect(api.loadPipeline(stranger as never, folder)).rejects.toThrow(OptionError);
});

test.each([undefined, 5, '', 'a\0b'])('%j names no file', async (path) => {
  const wrong = path as never;
  await expect(model.save(wrong)).rejects.toThrow(OptionError);
  await expect(api.UNet.load(device, wrong)).rejects.toThrow(OptionError);
  await expect(api.savePipeline(wrong, { model, schedule: diffusion.schedule })).rejects.toThrow(OptionError);
  await expect(api.loadPipeline(device, wrong)).rejects.toThrow(OptionError);
  await expect(device.zeros([1, 2, 2, 3]).savePng(wrong)).rejects.toThrow(OptionError);
});

test('a folder where the system allows none is reported, not tried for ever', async () => {
  await expect(model.save('/proc/diffusion/model')).rejects.toThrow(FileFormatError);
  await expect(device.zeros([1, 2, 2, 3]).savePng('/proc/diffusion/grid.png')).rejects.toThrow(FileFormatError);
  const options = { model, diffusion, data: images(), batchSize: 2, directory: '/proc/diffusion' };
  using trainer = new api.Trainer(options);
  await expect(trainer.save()).rejects.toThrow(FileFormatError);
  await model.save(join(folder, 'a', 'b', 'c'));
  expect(readdirSync(join(folder, 'a', 'b', 'c'))).toContain('config.json');
});

test.each([null, 0, ''])('%j is no initial sample', async (initial) => {
  using sampler = new api.Sampler(diffusion, model, { steps: 2 });
  await expect(sampler.sample({ initial: initial as never })).rejects.toThrow(/option 'initial' must be a Tensor/);
});

test('a run ends where its network is disposed, and an optimiser says so too', async () => {
  const short = new api.UNet(device, small);
  const optimizer = new api.AdamW(short.parameters(), {});
  using trainer = new api.Trainer({ model: short, diffusion, data: images(), batchSize: 2 });
  for await (const { step } of trainer.run({ steps: 1 })) expect(step).toBe(1);
  short.dispose();
  expect(() => trainer.run({ steps: 1 })).toThrow(/the model has been disposed/);
  optimizer.dispose();
  expect(() => optimizer.zeroGrad()).toThrow(DisposedError);
});
