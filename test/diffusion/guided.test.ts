import { expect, test } from 'vitest';
import { GaussianDiffusion } from '../../lib/diffusion/gaussian.js';
import { OptionError, ShapeError } from '../../lib/errors.js';
import { loadGoldenJson } from '../support/golden.js';
import { eachReference, optionsOf, type ProcessCase, scheduleOf } from './process.js';

interface GuidedCase extends ProcessCase {
  eta: number;
}

const file = 'process/guided_steps';
const { cases } = loadGoldenJson<{ cases: GuidedCase[] }>(`${file}.json`);

eachReference(file, (on) => {
  test.each(cases)('$id: steps with the gradient of a classifier, against guided-diffusion', async (example) => {
    const { input, close } = on.of(example);
    using diffusion = new GaussianDiffusion(on.device, scheduleOf(example), optionsOf(example));
    const given = { noise: input('step_noise'), classifierGradient: input('cond_grad') };
    const [output, x] = [input('model_output'), input('x')];
    const ancestral = diffusion.pSample(output, x, example.t, given);
    await close(ancestral.sample, 'p_sample');
    await close(ancestral.predXStart, 'p_pred_xstart');
    const ddim = diffusion.ddimSample(output, x, example.t, { ...given, eta: example.eta });
    await close(ddim.sample, 'ddim_sample', 5e-4);
    await close(ddim.predXStart, 'ddim_pred_xstart', 5e-4);
  });

  test('the gradient is checked', () => {
    using diffusion = new GaussianDiffusion(on.device, scheduleOf(cases[0] as GuidedCase));
    const x = on.device.zeros([1, 3, 2, 1]);
    const step = (classifierGradient: unknown) => () => diffusion.pSample(x, x, [5], { classifierGradient } as object);
    expect(step(on.device.zeros([1, 3, 2, 2]))).toThrow(ShapeError);
    expect(step(on.device.zeros([1, 3, 2, 2]))).toThrow(/pSample: classifierGradient must have shape \[1,3,2,1\]/);
    expect(step([0])).toThrow(OptionError);
  });
});
