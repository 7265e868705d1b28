import { beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../../lib/device.js';
import { GaussianDiffusion } from '../../lib/diffusion/gaussian.js';
import { NoiseSchedule } from '../../lib/diffusion/schedule.js';
import { UNet } from '../../lib/nn/unet.js';
import type { SamplerOptions } from '../../lib/sampling/options.js';
import { Sampler } from '../../lib/sampling/sampler.js';
import { relL2 } from '../support/compare.js';
import { eachDevice } from '../support/devices.js';

const labels = [2, 0, -1, 1];
const count = labels.length;
const steps = 4;
const churn = { sChurn: 3, sNoise: 1.01 };

const methods: SamplerOptions[] = [
  { method: 'ddpm' },
  { method: 'ddim', eta: 0.5 },
  { method: 'ddim', useClippedModelOutput: false },
  { method: 'dpmSolver++', order: 1 },
  { method: 'dpmSolver++', order: 2 },
  { method: 'dpmSolver++', order: 3 },
  { method: 'dpmSolver++', algorithmType: 'sde-dpmsolver++' },
  { method: 'euler' },
  { method: 'euler', ...churn },
  { method: 'eulerAncestral' },
  { method: 'heun' },
  { method: 'heun', ...churn },
];

eachDevice((id, open) => {
  // The emulator takes a second for what a device does in milliseconds.
  const small = id === 'emulator';
  const imageSize = small ? ([4, 2] as const) : ([8, 4] as const);
  const channels = small ? { channelMults: [1] } : { channelMults: [1, 2], attentionResolutions: [4] };
  const size = imageSize[0] * imageSize[1] * 3;

  describe('sample k of a seed does not depend on its batch', () => {
    let device: Device;
    let diffusion: GaussianDiffusion;
    let network: UNet;
    beforeAll(async () => {
      device = await open();
      diffusion = new GaussianDiffusion(device, NoiseSchedule.linear({ timesteps: 50, betaEnd: 0.2 }));
      network = new UNet(device, { imageSize, baseChannels: 8, ...channels, resBlocks: 1, numClasses: 3, zeroInit: false });
    });

    /** The same bits on the CPU, and 1e-5 elsewhere, sample by sample. */
    const check = (got: Float32Array, expected: Float32Array) => {
      if (id === 'cpu') return expect(got).toEqual(expected);
      expect(got.length).toBe(expected.length);
      for (let first = 0; first < expected.length; first += size) {
        const [ours, theirs] = [got, expected].map((values) => values.subarray(first, first + size));
        expect(relL2(ours as Float32Array, theirs as Float32Array)).toBeLessThan(1e-5);
      }
    };

    test.each(methods.flatMap((options) => [1, 2.5].map((guidance) => ({ ...options, guidance }))))('%o', async (options) => {
      const { guidance, ...method } = options;
      using sampler = new Sampler(diffusion, network, { ...method, steps });
      const draw = async (first: number, count: number, batchSize: number) => {
        const part = labels.slice(first, first + count);
        using images = await sampler.sample({ count, first, batchSize, seed: 2 ** 35 + 3, labels: part, guidance });
        return (await images.read()) as Float32Array;
      };
      const all = await draw(0, count, count);
      const samples = labels.map((_, k) => all.slice(k * size, (k + 1) * size));
      expect(new Set(samples.map((sample) => sample.join())).size).toBe(count);
      check(await draw(0, count, 1), all);
      check(await draw(0, count, 3), all);
      check(await draw(1, 2, 2), all.slice(size, 3 * size));
    });
  });
});
