import { expect, test } from 'vitest';
import { AdamW, backward, type Device, mseLoss, OutOfMemoryError, openDevice } from '../../lib/index.js';
import { bitsOf, hashOf, take, tinyModel, tinyTrainer } from '../train/tiny.js';
import { note, times } from './long.js';

const big = 16;
const small = 2;

/** Losses and weights of three steps of a new trainer. */
async function trained(device: Device, batchSize: number) {
  using model = tinyModel(device, { dropout: 0.1 });
  using trainer = tinyTrainer(device, { batchSize, model });
  const losses = await take(trainer, 3);
  const bits = await bitsOf(trainer);
  trainer.ema.dispose();
  return { losses, ...bits };
}

/** Memory that a device must have for three steps, all that it has kept included. */
async function neededFor(batchSize: number): Promise<number> {
  const device = await openDevice('cpu', { threads: 1 });
  await trained(device, batchSize);
  const { peakBytes } = device.memory();
  await device.close();
  return peakBytes;
}

test('a limit that a training step meets anywhere is an OutOfMemoryError; smaller ones then train with the same bits', async () => {
  const free = await openDevice('cpu', { threads: 1 });
  const expected = await trained(free, small);
  await free.close();
  const [enough, tooMuch] = [await neededFor(small), await neededFor(big)];
  expect(tooMuch).toBeGreaterThan(2 * enough);
  const places = times(6, 40);
  let met = 0;
  for (let place = 0; place < places; place++) {
    // Room for the small step, scratch and page sizes included, up to all but what the big one needs.
    const limit = Math.ceil(2 * enough + ((0.95 * tooMuch - 2 * enough) * place) / places);
    const device = await openDevice('cpu', { threads: 1, memoryLimit: limit });
    const before = device.memory().usedBytes;
    const failure = await trained(device, big).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(OutOfMemoryError);
    expect((failure as Error).message).toMatch(/asked for \d+ bytes, \d+ in use.*, limit \d+/);
    met++;
    expect(await trained(device, small)).toEqual(expected);
    expect(device.memory().usedBytes).toBeLessThanOrEqual(before + enough);
    expect(device.memory().reservedBytes).toBeLessThanOrEqual(limit);
    await device.close();
  }
  expect(met).toBe(places);
  note({ places });
});

test('a step of one’s own that meets the limit in its forward or backward half changes no weight', async () => {
  async function step(device: Device, model: ReturnType<typeof tinyModel>, optimizer: AdamW, batch: number): Promise<string> {
    const loss = device.scope(() => {
      optimizer.zeroGrad();
      const x = device.randn([batch, 8, 8, 3], { seed: 3 });
      const t = Array.from({ length: batch }, (_, i) => i + 1);
      const one = mseLoss(model.forward(x, t, { train: true }), device.full([batch, 8, 8, 3], 1));
      backward(one);
      return one;
    });
    optimizer.step();
    const value = await loss.read();
    loss.dispose();
    return `${value[0]} ${hashOf((await model.store.flatValues.read()) as Float32Array)}`;
  }
  const run = async (memoryLimit: number | undefined, batches: number[]) => {
    const device = await openDevice('cpu', { threads: 1, ...(memoryLimit === undefined ? {} : { memoryLimit }) });
    const model = tinyModel(device);
    const optimizer = new AdamW(model.parameters(), { learningRate: 1e-2 });
    const results: string[] = [];
    for (const batch of batches)
      results.push(
        await step(device, model, optimizer, batch).catch((error: Error) => {
          if (!(error instanceof OutOfMemoryError)) throw error;
          return 'out of memory';
        }),
      );
    const { peakBytes } = device.memory();
    await device.close();
    return { results, peakBytes };
  };
  const [first, second] = (await run(undefined, [small, small])).results as [string, string];
  const { peakBytes: enough } = await run(undefined, [small, small]);
  const { peakBytes: tooMuch } = await run(undefined, [64]);
  const places = times(6, 40);
  for (let place = 0; place < places; place++) {
    const limit = Math.ceil(2 * enough + ((0.9 * tooMuch - 2 * enough) * place) / places);
    const { results } = await run(limit, [small, 64, small]);
    expect(results).toEqual([first, 'out of memory', second]);
  }
  note({ places });
});
