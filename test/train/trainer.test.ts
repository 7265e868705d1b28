import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Device, NonFiniteError, OptionError, openDevice, type TrainingProgress } from '../../lib/index.js';
import { maxAbs, maxRelative, relL2 } from '../support/compare.js';
import { bitsOf, take, tinyModel, tinyTrainer, weightsOf } from './tiny.js';

let device: Device;
beforeAll(async () => {
  device = await openDevice('cpu', { threads: 1 });
});
afterAll(() => device.close());

test('the loss falls', async () => {
  const trainer = tinyTrainer(device, { learningRate: 4e-3, batchSize: 7, warmupSteps: 5 });
  const losses = (await take(trainer, 150)).map(([loss]) => loss);
  const meanOf = (part: number[]) => part.reduce((sum, loss) => sum + loss, 0) / part.length;
  expect(losses.every(Number.isFinite)).toBe(true);
  expect(meanOf(losses.slice(0, 5))).toBeGreaterThan(0.8); // noise of variance 1, and an output of zero
  expect(meanOf(losses.slice(-50))).toBeLessThan(0.5 * meanOf(losses.slice(0, 5)));
  expect(trainer.step).toBe(150);
});

test('one seed gives the same bits twice, another seed others', async () => {
  const [a, b, c] = [tinyTrainer(device), tinyTrainer(device), tinyTrainer(device, { seed: 6 })];
  const losses = await take(a, 6);
  expect(await take(b, 6)).toEqual(losses);
  expect(await bitsOf(b)).toEqual(await bitsOf(a));
  expect((await take(c, 1))[0]).not.toEqual(losses[0]);
});

test('runs in pieces are one run', async () => {
  const [whole, pieces] = [tinyTrainer(device), tinyTrainer(device)];
  const losses = await take(whole, 5);
  expect([...(await take(pieces, 2)), ...(await take(pieces, 0)), ...(await take(pieces, 3))]).toEqual(losses);
  expect(await bitsOf(pieces)).toEqual(await bitsOf(whole));
});

test.each([1, 2, 3])('micro-batches of %i are the whole batch up to rounding', async (microBatch) => {
  const whole = tinyTrainer(device, { batchSize: 6 });
  const parts = tinyTrainer(device, { batchSize: 6, microBatch });
  // Sums in another order: some 1e-7 relative in a first step from the same weights. Noise of other samples would differ by 1.
  const [first, second] = [(await take(whole, 1)).flat(), (await take(parts, 1)).flat()];
  expect(maxRelative(second, first)).toBeLessThan(1e-5);
  const [losses, others] = [(await take(whole, 4)).flat(), (await take(parts, 4)).flat()];
  expect(maxRelative(others, losses)).toBeLessThan(1e-2);
  // Adam divides by the gradient's own size: what is rounding noise in a gradient near zero moves a weight by up to 1e-3 a step.
  expect(relL2((await weightsOf(parts)).weights, (await weightsOf(whole)).weights)).toBeLessThan(1e-3);
});

test('labels reach the model', async () => {
  const options = { dropout: 0 };
  const classes = tinyTrainer(device, { model: tinyModel(device, { ...options, numClasses: 2, zeroInit: false }) });
  await take(classes, 3);
  const table = classes.model.parameters().get('class_embedding.weight');
  const gradient = (await table?.readGrad()) as Float32Array;
  expect(gradient.some((value) => value !== 0)).toBe(true);
});

test('progress counts from where training stands', async () => {
  const trainer = tinyTrainer(device);
  const seen: TrainingProgress[] = [];
  for await (const progress of trainer.run({ steps: 3 })) seen.push(progress);
  for await (const progress of trainer.run({ steps: 2 })) seen.push(progress);
  expect(seen.map(({ step }) => step)).toEqual([1, 2, 3, 4, 5]);
  for (const { imagesPerSecond, gradientNorm } of seen) {
    expect(imagesPerSecond).toBeGreaterThan(0);
    expect(imagesPerSecond).toBeLessThan(1e6);
    expect(gradientNorm).toBeGreaterThan(0);
  }
});

test('leaving the loop waits for the step in flight, and training can go on', async () => {
  const [left, whole] = [tinyTrainer(device), tinyTrainer(device)];
  for await (const { step } of left.run({ steps: 100 })) if (step === 2) break;
  expect(left.step).toBeGreaterThanOrEqual(2);
  expect(left.step).toBeLessThanOrEqual(4);
  await take(whole, left.step);
  expect(await bitsOf(left)).toEqual(await bitsOf(whole));
  expect(await take(left, 1)).toEqual(await take(whole, 1));
});

test('a signal ends the run between two steps', async () => {
  const [stopped, whole] = [tinyTrainer(device), tinyTrainer(device)];
  const controller = new AbortController();
  const running = (async () => {
    for await (const { step } of stopped.run({ steps: 100, signal: controller.signal })) if (step === 3) controller.abort();
  })();
  await expect(running).rejects.toMatchObject({ name: 'AbortError' });
  expect(stopped.step).toBeGreaterThanOrEqual(3);
  expect(stopped.step).toBeLessThanOrEqual(5);
  await take(whole, stopped.step);
  expect(await bitsOf(stopped)).toEqual(await bitsOf(whole));
  await expect(take(stopped, 1)).resolves.toHaveLength(1);
  const before = stopped.step;
  await expect(stopped.run({ steps: 1, signal: AbortSignal.abort() }).next()).rejects.toMatchObject({ name: 'AbortError' });
  expect(stopped.step).toBe(before);
});

test('two runs at a time are refused', async () => {
  const trainer = tinyTrainer(device);
  const first = trainer.run({ steps: 3 });
  await first.next();
  await expect(trainer.run({ steps: 1 }).next()).rejects.toThrow(OptionError);
  await first.return();
  await expect(take(trainer, 1)).resolves.toHaveLength(1);
});

test('a gradient that is not finite ends the run, or is counted, and changes no weight', async () => {
  const poisoned = async (onNonFinite: 'throw' | 'skip') => {
    const trainer = tinyTrainer(device, { onNonFinite });
    await take(trainer, 2);
    const bias = trainer.model.parameters().get('conv_out.bias');
    await bias?.write(Float32Array.of(0, Number.NaN, 0));
    return { trainer, before: await bitsOf(trainer) };
  };
  const strict = await poisoned('throw');
  const failure = await take(strict.trainer, 3).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(NonFiniteError);
  expect((failure as Error).message).toMatch(/^step 3: the loss is NaN/);
  expect(await bitsOf(strict.trainer)).toEqual(strict.before);

  const lenient = await poisoned('skip');
  const taken = await take(lenient.trainer, 3);
  expect(taken.flat().every(Number.isNaN)).toBe(true);
  expect(lenient.trainer.skipped).toBe(3);
  expect(await bitsOf(lenient.trainer)).toEqual(lenient.before);
  await lenient.trainer.model.parameters().get('conv_out.bias')?.write(new Float32Array(3));
  expect((await take(lenient.trainer, 1)).flat().every(Number.isFinite)).toBe(true);
});

test('the average follows the weights', async () => {
  const trainer = tinyTrainer(device, { emaDecay: 0.5, emaWarmup: false });
  const { weights: first } = await weightsOf(trainer);
  await take(trainer, 1);
  const { weights: second, averages } = await weightsOf(trainer);
  expect(
    relL2(
      averages,
      first.map((value, i) => (value + (second[i] as number)) / 2),
    ),
  ).toBeLessThan(1e-6);
  const { ema } = trainer;
  await take(trainer, 1);
  expect(trainer.ema).toBe(ema);
  expect(maxAbs((await weightsOf(trainer)).averages, averages)).toBeGreaterThan(0);
});

test('a trainer gives back all its memory', async () => {
  const model = tinyModel(device);
  await take(tinyTrainer(device, { model }), 1); // gradients come into being
  await device.synchronize();
  const before = device.memory().usedBytes;
  const trainer = tinyTrainer(device, { model, batchSize: 4, microBatch: 2 });
  await take(trainer, 3);
  void trainer.ema;
  trainer.diffusion.dispose();
  trainer.dispose();
  trainer.dispose();
  expect(device.memory().usedBytes).toBe(before);
  expect(() => trainer.run({ steps: 1 })).toThrow('after dispose()');
});
