import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../../lib/device.js';
import { OptionError } from '../../lib/errors.js';
import { openDevice } from '../../lib/openDevice.js';
import { symmetricBetaQuantile } from '../../lib/sampling/betaQuantile.js';
import { Sampler } from '../../lib/sampling/sampler.js';
import { maxAbs } from '../support/compare.js';

let device: Device;
beforeAll(async () => {
  device = await openDevice('cpu');
});
afterAll(() => device.close());

/** Of mpmath's regularised incomplete beta function, bisected at 30 digits. */
const quantiles = [
  [0.001, 0.6, 1.8558738517451997e-5],
  [0.2, 0.6, 0.12292175045833292],
  [0.25, 0.6, 0.175680378652695],
  [0.9, 0.6, 0.9604155944112192],
  [0.001, 2.5, 0.03251778873396982],
  [0.9, 2.5, 0.7754313975896435],
  [0.2, 1, 0.2],
] as const;

test.each(quantiles)('the quantile at %d of B(%d)', (p, a, expected) => {
  expect(Math.abs(symmetricBetaQuantile(p, a) - expected)).toBeLessThan(1e-14);
  expect(symmetricBetaQuantile(0, a)).toBe(0);
  expect(symmetricBetaQuantile(1, a)).toBe(1);
  expect(symmetricBetaQuantile(0.5, a)).toBeCloseTo(0.5, 14);
});

/** What the schedulers' own code says with these quantiles. */
const lists = [
  {
    config: { _class_name: 'DPMSolverMultistepScheduler' },
    sigmas: [
      157.4072723388672, 138.05972290039062, 100.31912994384766, 57.098148345947266, 19.3575496673584, 0.010001329705119133, 0,
    ],
    timesteps: [999, 985, 953, 893, 764, 0],
  },
  {
    config: { _class_name: 'EulerDiscreteScheduler', timestep_spacing: 'trailing' },
    sigmas: [
      157.4072723388672, 138.13023376464844, 100.52718353271484, 57.46372604370117, 19.860675811767578, 0.5836406350135803, 0,
    ],
    timesteps: [999, 985.9890747070312, 953.5980224609375, 893.7386474609375, 767.3553466796875, 166],
  },
  {
    config: { _class_name: 'EulerDiscreteScheduler', sigma_min: 0.05, sigma_max: 20 },
    sigmas: [20, 16.495176315307617, 10.024999618530273, 3.554823637008667, 0.05000000074505806, 0],
    timesteps: [768.2537231445312, 743.1113891601562, 674.0285034179688, 505.8070373535156, 10.946480751037598],
  },
  {
    config: { _class_name: 'HeunDiscreteScheduler' },
    sigmas: [25.146116256713867, 18.228574752807617, 6.946709156036377, 0.02916753478348255, 0],
    timesteps: [999, 944.4552612304688, 944.4552612304688, 761.1082153320312, 761.1082153320312, 0, 0],
  },
];

describe('use_beta_sigmas', () => {
  test.each(lists)('of $config._class_name', ({ config, sigmas, timesteps }) => {
    const steps = sigmas.length - 1;
    using sampler = Sampler.fromDiffusers({ ...config, use_beta_sigmas: true }, device, (x) => x, {
      steps,
      compatibility: 'diffusers',
    });
    const tolerances = sigmas.map((sigma) => 1e-5 * sigma); // ᾱ of the schedulers is a product in float32
    const got = sampler.sigmas as Float64Array;
    expect(got.length).toBe(sigmas.length);
    sigmas.forEach((sigma, k) => {
      expect(Math.abs((got[k] as number) - sigma)).toBeLessThanOrEqual(tolerances[k] as number);
    });
    expect(maxAbs(sampler.timesteps, timesteps)).toBeLessThan(config._class_name.startsWith('DPM') ? 1e-9 : 1e-3);
  });

  test('goes with no other rule but that of lu', () => {
    const make = (keys: object) =>
      Sampler.fromDiffusers({ _class_name: 'DPMSolverMultistepScheduler', use_beta_sigmas: true, ...keys }, device, (x) => x, {
        steps: 5,
      });
    expect(() => make({ use_karras_sigmas: true })).toThrow(OptionError);
    expect(() => make({ use_exponential_sigmas: true })).toThrow(/'use_exponential_sigmas' and 'use_beta_sigmas'/);
    using lu = make({ use_lu_lambdas: true });
    expect((lu.sigmas as Float64Array)[1]).toBeLessThan(20); // even in log σ
  });
});

test('noise is added at a level that is a bound itself', async () => {
  const config = { _class_name: 'EulerDiscreteScheduler', use_karras_sigmas: true, sigma_min: 0.05, sigma_max: 20 };
  const sample = async (sTmin: number, sTmax: number) => {
    using sampler = Sampler.fromDiffusers(config, device, (x) => x.device.zeros(x.shape), {
      ...{ steps: 4, sChurn: 1, sTmin, sTmax, shape: [2, 2, 1] as const },
    });
    using images = await sampler.sample({ seed: 3 });
    return images.read();
  };
  expect(await sample(0.05, 20)).toEqual(await sample(0.04, 21));
  expect(await sample(0.06, 20)).not.toEqual(await sample(0.04, 21));
});
