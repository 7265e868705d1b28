import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  DatasetError,
  type Device,
  DeviceMismatchError,
  DisposedError,
  GaussianDiffusion,
  ImageDataset,
  NoiseSchedule,
  OptionError,
  openDevice,
  ShapeError,
} from '../../lib/index.js';
import { learningRateAt } from '../../lib/training/learningRate.js';
import { tinyData, tinyModel, tinyTrainer } from './tiny.js';

let device: Device;
beforeAll(async () => {
  device = await openDevice('cpu', { threads: 1 });
});
afterAll(() => device.close());

test.each<[string, unknown, string]>([
  ['batchsize', 3, "unknown option 'batchsize'"],
  ['batchSize', 0, "option 'batchSize' must be an integer between 1 and 65536, got 0"],
  ['batchSize', 2.5, "option 'batchSize'"],
  ['learningRate', -1, "option 'learningRate'"],
  ['learningRate', '1e-3', "option 'learningRate'"],
  ['warmupSteps', -1, "option 'warmupSteps'"],
  ['learningRateSchedule', 'step', "option 'learningRateSchedule' must be one of 'constant', 'linear', 'cosine', got 'step'"],
  ['totalSteps', 0, "option 'totalSteps'"],
  ['emaDecay', 1.1, "option 'emaDecay' must be a number between 0 and 1, got 1.1"],
  ['emaWarmup', 1, "option 'emaWarmup'"],
  ['gradientClip', -1, "option 'gradientClip'"],
  ['weightDecay', Number.NaN, "option 'weightDecay'"],
  ['microBatch', 3, "option 'microBatch' must divide batchSize 4, got 3"],
  ['microBatch', 8, "option 'microBatch' must divide batchSize 4, got 8"],
  ['flip', 'yes', "option 'flip'"],
  ['seed', -1, "option 'seed'"],
  ['directory', 7, "option 'directory' must be a string, got 7"],
  ['directory', '', "option 'directory' must name a folder"],
  ['checkpointEvery', -1, "option 'checkpointEvery'"],
  ['onNonFinite', 'ignore', "option 'onNonFinite' must be one of 'throw', 'skip', got 'ignore'"],
  ['model', () => 0, "option 'model' must be a UNet, got a function"],
  ['diffusion', {}, "option 'diffusion' must be a GaussianDiffusion, got an object"],
  ['data', [], "option 'data' must be an ImageDataset, got []"],
])('option %s = %o is refused', (name, value, message) => {
  const make = () => tinyTrainer(device, { [name]: value });
  expect(make).toThrow(OptionError);
  expect(make).toThrow(message);
});

test('model and data must fit each other', async () => {
  const images = (shape: [number, number, number, number]) =>
    ImageDataset.tensor(new Uint8Array(shape.reduce((a, b) => a * b)), shape);
  expect(() => tinyTrainer(device, { data: images([4, 8, 8, 1]) })).toThrow(ShapeError);
  expect(() => tinyTrainer(device, { data: images([4, 8, 8, 1]) })).toThrow('the data have 1 channels, the model takes 3');
  expect(() => tinyTrainer(device, { data: images([4, 16, 8, 3]) })).toThrow('the data are 16×8, the model is for 8×8');
  const classes = (numClasses: number) => tinyModel(device, { numClasses });
  expect(() => tinyTrainer(device, { data: images([4, 8, 8, 3]), model: classes(2) })).toThrow(DatasetError);
  expect(() => tinyTrainer(device, { model: classes(1) })).toThrow('the data have 2 classes, the model 1');
  expect(() => tinyTrainer(device, { model: tinyModel(device, { outChannels: 6 }) })).toThrow(ShapeError);
  const disposed = tinyModel(device);
  disposed.dispose();
  expect(() => tinyTrainer(device, { model: disposed })).toThrow(DisposedError);
  const other = await openDevice('cpu', { threads: 1 });
  const diffusion = new GaussianDiffusion(other, NoiseSchedule.linear({ timesteps: 50 }));
  expect(() => tinyTrainer(device, { diffusion })).toThrow(DeviceMismatchError);
  await other.close();
  expect(() => tinyTrainer(other, { model: tinyModel(device) })).toThrow();
  expect(tinyTrainer(device, { data: tinyData(1) }).step).toBe(0); // fewer images than a batch is no error
});

test('run takes a number of steps and a signal', () => {
  const run = (options: object) => () => tinyTrainer(device).run(options as { steps: number });
  expect(run({})).toThrow("option 'steps' is required");
  expect(run({ steps: 1.5 })).toThrow(OptionError);
  expect(run({ steps: 1, signal: {} })).toThrow("option 'signal' must be an AbortSignal, got an object");
  expect(run({ steps: 1, epochs: 2 })).toThrow("unknown option 'epochs'");
});

describe('learning rate', () => {
  const rates = (options: Partial<Parameters<typeof learningRateAt>[1]>, steps = 9) =>
    Array.from({ length: steps }, (_, step) =>
      learningRateAt(step, { learningRate: 1, warmupSteps: 0, learningRateSchedule: 'constant', totalSteps: 8, ...options }),
    );

  test('rises in a line, then stays', () => {
    expect(rates({})).toEqual([1, 1, 1, 1, 1, 1, 1, 1, 1]);
    expect(rates({ warmupSteps: 4 })).toEqual([0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1]);
  });

  test('falls to zero at the last step', () => {
    expect(rates({ warmupSteps: 4, learningRateSchedule: 'linear' })).toEqual([0.25, 0.5, 0.75, 1, 1, 0.75, 0.5, 0.25, 0]);
    const cosine = rates({ learningRateSchedule: 'cosine' });
    expect(cosine[0]).toBe(1);
    expect(cosine[4]).toBeCloseTo(0.5, 15);
    expect(cosine[2]).toBeCloseTo((1 + Math.SQRT1_2) / 2, 15);
    expect(cosine[8]).toBe(0);
    expect(rates({ learningRateSchedule: 'linear', warmupSteps: 8 })[8]).toBe(0);
  });
});
