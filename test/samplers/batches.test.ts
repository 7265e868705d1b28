import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../../lib/device.js';
import { GaussianDiffusion } from '../../lib/diffusion/gaussian.js';
import { NoiseSchedule } from '../../lib/diffusion/schedule.js';
import { UNet } from '../../lib/nn/unet.js';
import { openDevice } from '../../lib/openDevice.js';
import { streams } from '../../lib/random.js';
import type { SampleOptions } from '../../lib/sampling/options.js';
import { Sampler } from '../../lib/sampling/sampler.js';

const schedule = NoiseSchedule.linear({ timesteps: 50, betaEnd: 0.2 });
const size = 8 * 8 * 3;
let device: Device;
let network: UNet;
let diffusion: GaussianDiffusion;
beforeAll(async () => {
  device = await openDevice('cpu');
  diffusion = new GaussianDiffusion(device, schedule);
  network = new UNet(device, {
    imageSize: 8,
    baseChannels: 8,
    channelMults: [1, 2],
    resBlocks: 1,
    attentionResolutions: [4],
    zeroInit: false,
  });
});
afterAll(() => device.close());

async function draw(sampler: Sampler, options: SampleOptions): Promise<Float32Array> {
  using images = await sampler.sample(options);
  return (await images.read()) as Float32Array;
}

describe('a sample of a seed', () => {
  test.each(['ddpm', 'ddim'] as const)('has the same bits in every batch: %s', async (method) => {
    using sampler = new Sampler(diffusion, network, { method, steps: 6, ...(method === 'ddim' && { eta: 0.5 }) });
    const all = await draw(sampler, { count: 16, batchSize: 16, seed: 3 });
    expect(all.some((value) => Math.abs(value) > 0.01)).toBe(true);
    for (const batchSize of [1, 5]) expect(await draw(sampler, { count: 16, batchSize, seed: 3 })).toEqual(all);
    expect(await draw(sampler, { count: 4, first: 7, seed: 3 })).toEqual(all.slice(7 * size, 11 * size));
    expect(await draw(sampler, { count: 1, first: 15, seed: 3, batchSize: 9 })).toEqual(all.slice(15 * size));
  });

  test('is another one for another seed, another sample, and without a seed', async () => {
    using sampler = new Sampler(diffusion, network, { steps: 3 });
    const pictures = [
      ...[{ seed: 0 }, { seed: 1 }, { seed: 2 ** 32 }, { seed: 2 ** 40 + 1 }, { seed: 0, first: 1 }, {}, {}].map((options) =>
        draw(sampler, { count: 1, ...options }),
      ),
    ];
    const distinct = new Set((await Promise.all(pictures)).map((values) => values.join()));
    expect(distinct.size).toBe(pictures.length);
  });

  test('starts from the stream of initial samples; a seed may be a tensor with step and first sample', async () => {
    using sampler = new Sampler(diffusion, network, { steps: 3 });
    using initial = device.randn([2, 8, 8, 3], { seed: 9, stream: streams.initialSample });
    expect(await draw(sampler, { initial, seed: 9 })).toEqual(await draw(sampler, { count: 2, seed: 9 }));
    using seed = device.tensor(Int32Array.of(9), [1]);
    expect(await draw(sampler, { count: 2, seed })).toEqual(await draw(sampler, { count: 2, seed: 9 }));
    using second = device.tensor(Int32Array.of(9, 0, 0, 1), [4]);
    expect(await draw(sampler, { count: 1, seed: second })).toEqual(await draw(sampler, { count: 1, first: 1, seed: 9 }));
    using later = device.tensor(Int32Array.of(9, 0, 1, 0), [4]);
    expect(await draw(sampler, { initial, seed: later })).not.toEqual(await draw(sampler, { initial, seed: 9 }));
  });

  test('takes given noise in the order of the draws, in every batch', async () => {
    using sampler = new Sampler(diffusion, network, { steps: 4 });
    const noises = [...Array(3).keys()].map((step) => {
      using state = device.tensor(Int32Array.of(9, 0, step, 0), [4]);
      return device.randn([3, 8, 8, 3], { seed: state, stream: streams.samplerNoise });
    });
    const expected = await draw(sampler, { count: 3, seed: 9 });
    using initial = device.randn([3, 8, 8, 3], { seed: 9, stream: streams.initialSample });
    for (const batchSize of [3, 2]) expect(await draw(sampler, { initial, noises, batchSize })).toEqual(expected);
    expect(await draw(sampler, { initial, noises: noises.toReversed() })).not.toEqual(expected);
  });

  test('a replayed step is the same as a step enqueued for a function', async () => {
    using recorded = new Sampler(diffusion, network, { steps: 5 });
    using enqueued = new Sampler(diffusion, (xt, t) => network.forward(xt, t), { steps: 5, shape: [8, 8, 3] });
    expect(await draw(enqueued, { count: 2, seed: 4 })).toEqual(await draw(recorded, { count: 2, seed: 4 }));
  });

  test('follows the weights and calls do not disturb each other', async () => {
    using sampler = new Sampler(diffusion, network, { steps: 5 });
    const alone = [await draw(sampler, { count: 2, seed: 1 }), await draw(sampler, { count: 2, seed: 2 })];
    expect(await Promise.all([draw(sampler, { count: 2, seed: 1 }), draw(sampler, { count: 2, seed: 2 })])).toEqual(alone);
    const [parameter] = network.parameters().values();
    const weights = (await parameter?.read()) as Float32Array;
    parameter?.write(weights.map((weight) => weight + 0.1));
    expect(await draw(sampler, { count: 2, seed: 1 })).not.toEqual(alone[0]);
    parameter?.write(weights);
    expect(await draw(sampler, { count: 2, seed: 1 })).toEqual(alone[0]);
  });

  test('classes reach the model, also in a padded batch', async () => {
    using model = new UNet(device, {
      imageSize: 8,
      baseChannels: 8,
      channelMults: [1],
      resBlocks: 1,
      numClasses: 3,
      zeroInit: false,
    });
    using sampler = new Sampler(diffusion, model, { steps: 3 });
    const labels = [2, 0, 1, 2, 0];
    const all = await draw(sampler, { count: 5, seed: 1, labels });
    expect(await draw(sampler, { count: 5, seed: 1, labels: Int32Array.from(labels), batchSize: 3 })).toEqual(all);
    expect(await draw(sampler, { count: 5, seed: 1, labels: [1, 0, 1, 2, 0] })).not.toEqual(all);
    await expect(sampler.sample({ count: 2 })).rejects.toThrow(/'labels' is required.* 3 classes/);
    await expect(sampler.sample({ count: 2, labels: [0, 3] })).rejects.toThrow(/classes below 3, got 3/);
    await expect(sampler.sample({ count: 2, labels: [0, -2] })).rejects.toThrow(/labels\[1\] must be an integer between -1/);
    await expect(sampler.sample({ count: 2, labels: [0] })).rejects.toMatchObject({ code: 'ERR_SHAPE' });
  });
});
