import { describe, expect, test } from 'vitest';
import { GaussianDiffusion } from '../../lib/diffusion/gaussian.js';
import { NoiseSchedule } from '../../lib/diffusion/schedule.js';
import { openDevice } from '../../lib/openDevice.js';
import type { Tensor } from '../../lib/tensor.js';
import { maxAbs, maxRelative } from '../support/compare.js';
import { conform, notChecked, type ReferenceCase } from '../support/conformance.js';
import { eachDevice } from '../support/devices.js';
import type { GoldenTensor } from '../support/golden.js';
import { caseTensors, entry, type SchedulerCase, sameAsBefore, samplerOf, schedulerCases, upload } from './diffusersCases.js';

const largest = (values: Float32Array) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);

eachDevice((id, open) => {
  describe.each(['0_20_2', '0_35_2'] as const)('diffusers %s', (version) => {
    const cases = schedulerCases[version].filter(({ kind }) => kind === undefined);
    test.each(cases.map((one) => [one.id, one] as const))('%s', async (name, one) => {
      const reference = { file: `schedulers/diffusers_${version}`, id: name, device: id };
      const newer = schedulerCases['0_35_2'].find((other) => other.id === name) as SchedulerCase;
      if (version === '0_20_2' && !sameAsBefore(newer)) {
        notChecked(reference, 'diffusers 0.35 computes it otherwise, and that is compared');
        return;
      }
      const device = await open();
      const tensors = await caseTensors(version, one);
      const get = (tensor: string) => tensors(tensor) ?? expect.fail(`no ${tensor}`);
      const seen: number[][] = [];
      const inputs: Float32Array[] = [];
      using sampler = samplerOf(device, adapted(one), 'diffusers', seen, inputs);
      const count = one.noise_per_step.filter((draws) => draws > 0).length;
      const stored = tensors('noises');
      const noises = stored && Array.from({ length: count }, (_, k) => upload(device, entry(stored, k)));
      conform(reference, 'initial scale, relative', Math.abs(sampler.initialScale / one.init_noise_sigma - 1), 5e-5);

      let k = 0;
      const initial = upload(device, get('init_sample'));
      for await (const { step, total, x, predXStart } of sampler.steps({ initial, noises })) {
        expect([step, total]).toEqual([k + 1, one.timesteps.length]);
        for (const [quantity, tensor] of [
          ['prev_sample', x],
          ['pred_original_sample', predXStart],
        ] as const) {
          const stack = tensors(quantity);
          if (!stack) continue;
          const expected = entry(stack, k).values;
          const error = maxAbs((await tensor.read({ layout: 'nchw' })) as Float32Array, expected) / largest(expected);
          conform(reference, `${quantity}, max abs of max`, error, 1e-4);
        }
        k++;
      }
      const given = tensors('model_input');
      for (const [i, input] of given ? inputs.entries() : []) {
        const expected = entry(given as GoldenTensor, i).values;
        conform(reference, 'model_input, max abs of max', maxAbs(input, expected) / largest(expected), 1e-4);
      }
      if (one.sigmas && sampler.sigmas) compareSigmas(reference, one, sampler.sigmas);
      const steps = one.timesteps.map((t, i) => Math.abs(t - (seen[i]?.[0] ?? Number.NaN)));
      conform(reference, 'timesteps, max abs', Math.max(...steps), /Euler|Heun/.test(one.cls) ? 1e-4 : 0);
    });

    test('add_noise', async () => {
      const one = schedulerCases[version].find(({ kind }) => kind === 'add_noise_get_velocity') as SchedulerCase;
      const reference = { file: `schedulers/diffusers_${version}`, id: one.id, device: id };
      const device = await open();
      const tensors = await caseTensors(version, one);
      const get = (name: string) => tensors(name) ?? expect.fail(`no ${name}`);
      using diffusion = new GaussianDiffusion(device, NoiseSchedule.linear(), { prediction: 'v' });
      const [x, noise] = [upload(device, get('x')), upload(device, get('noise'))];
      const { xt } = diffusion.qSample(x, one.timesteps, { noise });
      const noisy = get('noisy').values;
      const error = maxAbs((await xt.read({ layout: 'nchw' })) as Float32Array, noisy) / largest(noisy);
      conform(reference, 'noisy, max abs of max', error, 1e-4);
      // The error of a model that says what get_velocity says is that of the velocity.
      const { mse } = diffusion.trainingLosses(() => upload(device, get('velocity')), x, one.timesteps, { noise });
      const squares = (await (mse as Tensor).read()) as Float32Array;
      const deviation = Math.sqrt(squares.reduce((most, value) => Math.max(most, value), 0));
      conform(reference, 'velocity, root of the mean square of max', deviation / largest(get('velocity').values), 1e-4);
    });
  });
});

/** σ at the start of each step and at the end; those of Heun's method are on record for each evaluation. */
function compareSigmas(reference: ReferenceCase, { cls, sigmas = [] }: SchedulerCase, got: Float64Array): void {
  const expected = cls.startsWith('Heun') ? sigmas.filter((_, i) => i === 0 || i % 2 === 1) : sigmas;
  conform(reference, 'sigmas, max relative', maxRelative(got, expected), 5e-5);
}

/** Configurations of 0.20.2 know no end but the first step's noise. */
function adapted(one: SchedulerCase): SchedulerCase {
  const config = one.config as Record<string, unknown>;
  const ends = one.cls === 'DPMSolverMultistepScheduler' && one.sigmas?.at(-1) !== 0 && !('final_sigmas_type' in config);
  return ends ? { ...one, config: { ...config, final_sigmas_type: 'sigma_min' } } : one;
}

/** The cases where diffusers is at fault, so that the corrected steps are others. */
const corrected = ['ddim_linspace_n10', 'ddim_linspace_n7', 'ddim_trailing_n7', 'dpmpp_2m_karras_cos'];

test('corrected steps are those of diffusers but for its faults', async () => {
  const device = await openDevice('cpu');
  const different: string[] = [];
  for (const one of schedulerCases['0_35_2'].filter(({ kind }) => kind === undefined)) {
    const tensors = await caseTensors('0_35_2', one);
    using sampler = samplerOf(device, adapted(one), 'corrected', []);
    const stored = tensors('noises');
    const count = one.noise_per_step.filter((draws) => draws > 0).length;
    const noises = stored && Array.from({ length: count }, (_, k) => upload(device, entry(stored, k)));
    using images = await sampler.sample({ initial: upload(device, tensors('init_sample') as never), noises });
    const expected = entry(tensors('prev_sample') as never, one.timesteps.length - 1).values;
    const error = maxAbs((await images.read({ layout: 'nchw' })) as Float32Array, expected) / largest(expected);
    if (!(error <= 1e-4)) different.push(one.id);
  }
  expect(different).toEqual(corrected);
  await device.close();
});
