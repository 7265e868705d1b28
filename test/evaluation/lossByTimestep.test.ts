import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  DatasetError,
  type Device,
  evaluateLoss,
  GaussianDiffusion,
  ImageDataset,
  NoiseSchedule,
  OptionError,
  openDevice,
  type Prediction,
  ShapeError,
} from '../../lib/index.js';
import { Batches } from '../../lib/training/batches.js';
import { take, tinyData, tinyModel, tinyTrainer } from '../train/tiny.js';

let device: Device;
beforeAll(async () => {
  device = await openDevice('cpu', { threads: 1 });
});
afterAll(() => device.close());

const process = (prediction: Prediction = 'epsilon', timesteps = 50) =>
  new GaussianDiffusion(device, NoiseSchedule.linear({ timesteps }), { prediction });
const relative = (a: number, b: number) => Math.abs(a / b - 1);

test('a model that predicts nothing is off by the variance of the noise', async () => {
  const { mse, standardError, images, quartiles } = await evaluateLoss({
    model: tinyModel(device), // its last layer begins with zeros
    diffusion: process(),
    data: tinyData(64),
  });
  // ε² has standard deviation √2; over 64 images of 192 values the mean's is 0.0128, over four times as many half of that.
  expect(images).toBe(64);
  for (const quartile of quartiles) expect(Math.abs(quartile.mse - 1)).toBeLessThan(5 * 0.0128);
  expect(Math.abs(mse - 1)).toBeLessThan(5 * 0.0064);
  expect(standardError / 0.0064).toBeGreaterThan(0.6);
  expect(standardError / 0.0064).toBeLessThan(1.5);
  expect(quartiles.map(({ first, last }) => [first, last])).toEqual([
    [0, 11],
    [12, 24],
    [25, 36],
    [37, 49],
  ]);
});

test.each(['epsilon', 'sample', 'v'] as const)('it is the error of the ε that follows from the predicted %s', async (kind) => {
  const diffusion = process(kind);
  const model = tinyModel(device, { zeroInit: false, dropout: 0.5 });
  const data = tinyData(6);
  const [count, seed] = [5, 3];
  const found = await evaluateLoss({ model, diffusion, data, count, batchSize: count, seed });
  const batches = new Batches(data, count, { seed, labelled: false });
  const x0 = device.tensor((await batches.of(0)).images, [count, 8, 8, 3]);
  for (const [q, { first, last, mse }] of found.quartiles.entries()) {
    const t = Array.from({ length: count }, (_, i) => first + Math.floor(((i + 0.5) / count) * (last + 1 - first)));
    const { xt, noise } = diffusion.qSample(x0, t, { seed, step: q });
    const [x, epsilon, output] = await Promise.all([xt, noise, model.forward(xt, Int32Array.from(t))].map((one) => one.read()));
    let sum = 0;
    output?.forEach((value, i) => {
      const alphaBar = diffusion.schedule.alphasCumprod[t[Math.floor(i / 192)] as number] as number;
      const [signal, spread] = [Math.sqrt(alphaBar), Math.sqrt(1 - alphaBar)];
      const noisy = x?.[i] as number;
      const predicted = { epsilon: value, sample: (noisy - signal * value) / spread, v: signal * value + spread * noisy }[kind];
      sum += (predicted - (epsilon?.[i] as number)) ** 2;
    });
    expect(relative(mse, sum / (output?.length ?? 0))).toBeLessThan(1e-4);
  }
});

test('a seed gives the same whatever the batch, another seed something else', async () => {
  const given = { model: tinyModel(device, { zeroInit: false, dropout: 0.5 }), diffusion: process(), data: tinyData(), count: 7 };
  const whole = await evaluateLoss(given);
  expect(await evaluateLoss(given)).toEqual(whole);
  const parts = await evaluateLoss({ ...given, batchSize: 3 });
  expect(relative(parts.mse, whole.mse)).toBeLessThan(1e-5);
  parts.quartiles.forEach(({ mse }, q) => {
    expect(relative(mse, whole.quartiles[q]?.mse as number)).toBeLessThan(1e-5);
  });
  expect((await evaluateLoss({ ...given, seed: 1 })).mse).not.toBe(whole.mse);
  expect((await evaluateLoss({ ...given, count: 1000 })).images).toBe(7);
});

test('training lowers it, and the mean over all steps weighs the quarters by their length', async () => {
  const trainer = tinyTrainer(device, { learningRate: 4e-3, emaDecay: 0.9 });
  const { diffusion } = trainer;
  const before = await evaluateLoss({ model: trainer.ema, diffusion, data: tinyData() });
  await take(trainer, 150);
  const after = await evaluateLoss({ model: trainer.ema, diffusion, data: tinyData() });
  expect(after.mse).toBeLessThan(0.6 * before.mse);
  const weighed = after.quartiles.reduce((sum, { first, last, mse }) => sum + ((last + 1 - first) / 50) * mse, 0);
  expect(relative(after.mse, weighed)).toBeLessThan(1e-12);
  expect(after.quartiles[0]?.mse).toBeGreaterThan(after.quartiles[3]?.mse as number); // little noise is hardest to see
});

test('classes reach the model; short schedules have fewer parts', async () => {
  const model = tinyModel(device, { numClasses: 2, zeroInit: false });
  const data = tinyData();
  const { images } = data;
  const swapped = ImageDataset.tensor(images, [7, 8, 8, 3], { labels: [...(data.labels ?? [])].map((label) => 1 - label) });
  const given = { model, diffusion: process('epsilon', 3) };
  const one = await evaluateLoss({ ...given, data });
  expect(one.quartiles.map(({ first, last }) => [first, last])).toEqual([
    [0, 0],
    [1, 1],
    [2, 2],
  ]);
  expect((await evaluateLoss({ ...given, data: swapped })).mse).not.toBe(one.mse);
  await expect(evaluateLoss({ ...given, data: ImageDataset.tensor(images, [7, 8, 8, 3]) })).rejects.toThrow(DatasetError);
});

test('wrong arguments are refused, an abort ends it, memory is as before', async () => {
  const given = { model: tinyModel(device), diffusion: process(), data: tinyData() };
  await expect(evaluateLoss({ ...given, count: 0 })).rejects.toThrow(OptionError);
  await expect(evaluateLoss({ ...given, data: ImageDataset.tensor(new Uint8Array(64), [1, 8, 8, 1]) })).rejects.toThrow(
    ShapeError,
  );
  await expect(evaluateLoss({ ...given, data: ImageDataset.tensor(new Uint8Array(48), [1, 4, 4, 3]) })).rejects.toThrow(
    ShapeError,
  );
  const controller = new AbortController();
  const seen: [number, number][] = [];
  const onProgress = (done: number, total: number) => {
    seen.push([done, total]);
    if (done === 5) controller.abort();
  };
  await evaluateLoss(given);
  const before = device.memory().usedBytes;
  await expect(evaluateLoss({ ...given, batchSize: 2, signal: controller.signal, onProgress })).rejects.toThrow(/abort/i);
  expect(seen).toEqual([1, 2, 3, 4, 5].map((done) => [done, 16]));
  expect(device.memory().usedBytes).toBeLessThanOrEqual(before); // less where garbage of other tests went meanwhile
});
