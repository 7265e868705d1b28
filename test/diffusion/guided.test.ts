import { beforeAll, expect, test } from 'vitest';
import type { Device } from '../../lib/device.js';
import { GaussianDiffusion } from '../../lib/diffusion/gaussian.js';
import { OptionError, ShapeError } from '../../lib/errors.js';
import { eachDevice } from '../support/devices.js';
import { type GoldenTensor, loadGolden, loadGoldenJson } from '../support/golden.js';
import { comparison, optionsOf, type ProcessCase, scheduleOf, upload } from './process.js';

interface GuidedCase extends ProcessCase {
  eta: number;
}

const file = 'process/guided_steps';
const { cases } = loadGoldenJson<{ cases: GuidedCase[] }>(`${file}.json`);

eachDevice((id, open) => {
  let device: Device;
  let golden: Map<string, GoldenTensor>;
  beforeAll(async () => {
    device = await open();
    golden = await loadGolden(`${file}.safetensors`);
  });

  test.each(cases)('$id: steps with the gradient of a classifier, against guided-diffusion', async (example) => {
    const reference = (name: string) => golden.get(`${example.id}/${name}`) as GoldenTensor;
    const input = (name: string) => upload(device, reference(name));
    const close = comparison({ file, id: example.id, device: id }, reference);
    using diffusion = new GaussianDiffusion(device, scheduleOf(example), optionsOf(example));
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
    using diffusion = new GaussianDiffusion(device, scheduleOf(cases[0] as GuidedCase));
    const x = device.zeros([1, 3, 2, 1]);
    const step = (classifierGradient: unknown) => () => diffusion.pSample(x, x, [5], { classifierGradient } as object);
    expect(step(device.zeros([1, 3, 2, 2]))).toThrow(ShapeError);
    expect(step(device.zeros([1, 3, 2, 2]))).toThrow(/pSample: classifierGradient must have shape \[1,3,2,1\]/);
    expect(step([0])).toThrow(OptionError);
  });
});
