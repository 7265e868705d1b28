import { join } from 'node:path';
import { expect, test } from 'vitest';
import {
  GaussianDiffusion,
  NoiseSchedule,
  OptionError,
  openDevice,
  Trainer,
  type TrainerOptions,
  UNet,
} from '../../lib/index.js';
import { streams } from '../../lib/random.js';
import { dropLabels } from '../../lib/training/labelDropout.js';
import { eachDevice } from '../support/devices.js';
import { temporaryFolder } from '../support/temporaryFolder.js';
import { bitsOf, take, tinyData, tinyModel, tinyTrainer } from './tiny.js';

const root = temporaryFolder();

eachDevice((_id, open) => {
  test('labels are dropped by the numbers that the engine draws', async () => {
    const device = await open();
    for (const [seed, step, first] of [
      [5, 0, 0],
      [2 ** 40 + 3, 70000, 6],
    ] as const) {
      const drawn = device.empty([33, 1], 'f32');
      const state = device.tensor(Int32Array.of(seed | 0, Math.floor(seed / 2 ** 32), step, first), [4]);
      device.native.randomUniform(drawn.handle, 0, 1, state.handle, 0, streams.labelDropout, 0, 0);
      const labels = Int32Array.from({ length: 33 }, (_, i) => i);
      const kept = dropLabels(labels, { probability: 0.4, seed, step, first });
      expect([...kept]).toEqual(Array.from(await drawn.read(), (u, i) => (u < 0.4 ? -1 : i)));
      expect(kept.filter((label) => label < 0).length).toBeGreaterThan(3);
      for (const tensor of [drawn, state]) tensor.dispose();
    }
  });

  test('no class is a class whose embedding is zero', async () => {
    const device = await open();
    const options = { imageSize: 8, baseChannels: 8, channelMults: [1, 2], resBlocks: 1, zeroInit: false, numClasses: 3 };
    using model = new UNet(device, options);
    using x = device.randn([3, 8, 8, 3], { seed: 1 });
    const given = await model.forward(x, [1, 2, 3], { labels: [-1, 1, -1] }).read();
    using alike = model.clone();
    const table = alike.parameters().get('class_embedding.weight');
    const rows = (await table?.read()) as Float32Array;
    rows.fill(0, 0, 32);
    table?.write(rows);
    expect(await alike.forward(x, [1, 2, 3], { labels: [0, 1, 0] }).read()).toEqual(given);
    expect(await model.forward(x, [1, 2, 3], { labels: [0, 1, 0] }).read()).not.toEqual(given);
  });
});

test('a run with dropped labels and recomputed blocks goes on bit for bit', async () => {
  const device = await openDevice('cpu', { threads: 2 });
  const trainer = (options: Partial<TrainerOptions>) =>
    tinyTrainer(device, {
      model: tinyModel(device, { dropout: 0.1, numClasses: 2, zeroInit: false, gradientCheckpointing: true }),
      labelDropout: 0.5,
      ...options,
    });
  using whole = trainer({});
  const expected = await take(whole, 6);
  using kept = trainer({ labelDropout: 0 });
  expect((await take(kept, 6)).at(-1)).not.toEqual(expected.at(-1));

  const directory = join(root, 'run');
  const first = trainer({ directory });
  const taken = await take(first, 2);
  await first.save();
  first.dispose();
  using again = await Trainer.resume(directory, { device, data: tinyData() });
  expect(again.model.config.gradientCheckpointing).toBe(true);
  taken.push(...(await take(again, 4)));
  expect(taken).toEqual(expected);
  expect(await bitsOf(again)).toEqual(await bitsOf(whole));
  await device.close();
});

test('with all labels dropped the classes learn nothing', async () => {
  const device = await openDevice('cpu');
  using model = tinyModel(device, { numClasses: 2, zeroInit: false });
  const read = async (name: string) => (await model.parameters().get(name)?.read()) as Float32Array;
  const [classes, weights] = [await read('class_embedding.weight'), await read('conv_in.weight')];
  using trainer = tinyTrainer(device, { model, labelDropout: 1, microBatch: 2 });
  await take(trainer, 2);
  expect(await read('class_embedding.weight')).toEqual(classes);
  expect(await read('conv_in.weight')).not.toEqual(weights);
  await device.close();
});

test('models that the trainer cannot drop labels of, or cannot label', async () => {
  const device = await openDevice('cpu');
  const diffusion = new GaussianDiffusion(device, NoiseSchedule.linear({ timesteps: 50 }));
  const make = (model: object, options: Partial<TrainerOptions>) => () =>
    tinyTrainer(device, { diffusion, model: tinyModel(device, model), ...options });
  expect(make({}, { labelDropout: 0.1 })).toThrow(OptionError);
  expect(make({}, { labelDropout: 0.1 })).toThrow(/'labelDropout' must be 0 where the model has no classes, got 0.1/);
  expect(make({ numClasses: 2 }, { labelDropout: 1.5 })).toThrow(/'labelDropout' must be a number between 0 and 1, got 1.5/);
  expect(make({ classEmbedType: 'identity' }, {})).toThrow(/classEmbedType is 'identity'/);
  using trainer = make({ classEmbedType: 'timestep' }, {})();
  expect((await take(trainer, 2)).flat().every(Number.isFinite)).toBe(true);
  await device.close();
});
