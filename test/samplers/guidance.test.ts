import { expect, test } from 'vitest';
import { GaussianDiffusion } from '../../lib/diffusion/gaussian.js';
import { NoiseSchedule } from '../../lib/diffusion/schedule.js';
import { UNet } from '../../lib/nn/unet.js';
import { scale } from '../../lib/ops/index.js';
import { Sampler } from '../../lib/sampling/sampler.js';
import type { Tensor } from '../../lib/tensor.js';
import { maxAbs } from '../support/compare.js';
import { eachDevice } from '../support/devices.js';

const size = 8 * 8 * 3;
const labels = [1, 0, 2];

eachDevice((id, open) => {
  test('-1 in lists of labels is no class: in sampling, training and the bound', async () => {
    const device = await open();
    using diffusion = new GaussianDiffusion(device, NoiseSchedule.linear({ timesteps: 3, betaEnd: 0.2 }));
    const seen: number[][] = [];
    const model = (xt: Tensor, _t: Tensor, { labels }: { labels?: Tensor }) => {
      void labels?.read().then((values) => seen.push([...values]));
      return scale(xt, 0.5);
    };
    const given = [-1, 1];
    const images = device.randn([2, 3, 5, 1], { seed: 1 });
    using sampler = new Sampler(diffusion, model, { steps: 2, shape: [3, 5, 1] });
    for (const labels of [given, Int32Array.from(given), device.tensor(Int32Array.from(given), [2])]) {
      (await sampler.sample({ count: 2, seed: 1, labels })).dispose();
      const { loss } = diffusion.trainingLosses(model, images, [0, 2], { labels, seed: 1 });
      expect(loss.shape).toEqual([2]);
      await diffusion.bitsPerDimension(model, images, { labels, seed: 1 });
    }
    await device.synchronize();
    expect(seen).toEqual(Array.from({ length: 3 * (2 + 1 + 3) }, () => given));
    expect(() => diffusion.trainingLosses(model, images, [0, 2], { labels: [-2, 0] })).toThrow(/labels\[0\].*between -1 and/);

    const options = {
      imageSize: [4, 2] as const,
      baseChannels: 8,
      channelMults: [1],
      resBlocks: 1,
      numClasses: 3,
      zeroInit: false,
    };
    using network = new UNet(device, options);
    using classes = new Sampler(diffusion, network, { steps: 2 });
    const draw = async (labels: number[]) => (await (await classes.sample({ count: 2, seed: 1, labels })).read()) as Float32Array;
    const [first, second] = [await draw(given), await draw([1, 1])];
    expect(first.subarray(0, 24)).not.toEqual(second.subarray(0, 24));
    expect(maxAbs(first.subarray(24), second.subarray(24))).toBeLessThan(1e-6);
  });

  test('guidance: u + g·(c - u) from one evaluation of [x; x] with labels [labels; -1]', async () => {
    const device = await open();
    const diffusion = new GaussianDiffusion(device, NoiseSchedule.linear({ timesteps: 50 }));
    using network = new UNet(device, {
      imageSize: 8,
      baseChannels: 8,
      channelMults: [1],
      resBlocks: 1,
      numClasses: 3,
      zeroInit: false,
    });
    const guidance = 2.5;
    const seen: number[][] = [];
    // The same by hand: two evaluations, combined in float64.
    const byHand = async (xt: Tensor, t: Tensor, { labels }: { labels?: Tensor }) => {
      const none = device.tensor(
        Int32Array.from({ length: t.size }, () => -1),
        [t.size],
      );
      const [c, u] = await Promise.all(
        [labels as Tensor, none].map(
          async (classes) => (await network.forward(xt, t, { labels: classes }).read()) as Float32Array,
        ),
      );
      return device.tensor(
        (u as Float32Array).map((value, i) => value + guidance * ((c?.[i] as number) - value)),
        xt.shape,
      );
    };
    const recording = (xt: Tensor, t: Tensor, { labels }: { labels?: Tensor }) => {
      void labels?.read().then((values) => seen.push([...values]));
      return network.forward(xt, t, { labels: labels as Tensor });
    };
    const draw = async (model: ConstructorParameters<typeof Sampler>[1], batchSize: number, scale?: number) => {
      using sampler = new Sampler(diffusion, model, { method: 'dpmSolver++', steps: 3, shape: [8, 8, 3] });
      using images = await sampler.sample({
        count: 3,
        seed: 4,
        labels,
        batchSize,
        ...(scale !== undefined && { guidance: scale }),
      });
      return (await images.read()) as Float32Array;
    };
    const guided = await draw(network, 3, guidance);
    expect(guided.length).toBe(3 * size);
    expect(maxAbs(guided, await draw(byHand, 3))).toBeLessThan(1e-4); // clipped images; rounding of float32 times the guidance
    const batches = await draw(network, 2, guidance);
    if (id === 'cpu') expect(batches).toEqual(guided);
    else expect(maxAbs(batches, guided)).toBeLessThan(1e-5);
    expect(await draw(recording, 3, guidance)).toEqual(guided);
    expect(seen[0]).toEqual([...labels, -1, -1, -1]);
    expect(await draw(network, 3, 1)).toEqual(await draw(network, 3));
    expect(await draw(network, 3, 1)).not.toEqual(guided);
    diffusion.dispose();
  });
});
