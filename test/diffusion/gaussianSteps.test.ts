import { beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../../lib/device.js';
import { GaussianDiffusion } from '../../lib/diffusion/gaussian.js';
import type { Tensor } from '../../lib/tensor.js';
import { eachDevice } from '../support/devices.js';
import { type GoldenTensor, loadGolden, loadGoldenJson } from '../support/golden.js';
import { isFixed, misfit, optionsOf, type ProcessCase, scheduleOf, upload, values } from './process.js';

const { cases } = loadGoldenJson<{ cases: ProcessCase[] }>('process/iddpm_steps.json');
const ofKind = (kind: string) => cases.filter((example) => example.kind === kind && (kind === 'q' || isFixed(example)));

eachDevice((_, open) => {
  let device: Device;
  let golden: Map<string, GoldenTensor>;
  beforeAll(async () => {
    device = await open();
    golden = await loadGolden('process/iddpm_steps.safetensors');
  });

  const reference = (key: string) => golden.get(key) as GoldenTensor;
  const input = (key: string) => upload(device, reference(key));

  async function expectClose(got: Tensor, key: string, relative = 1e-5, absolute = 0): Promise<void> {
    expect(misfit(await values(got), reference(key), relative, absolute), key).toBeLessThanOrEqual(1);
  }

  describe('the forward process against improved-diffusion', () => {
    test.each(ofKind('q'))('$id', async (example) => {
      const diffusion = new GaussianDiffusion(device, scheduleOf(example));
      const at = (name: string) => `${example.id}/${name}`;
      const x0 = input(at('x_start'));
      const { xt } = diffusion.qSample(x0, example.t, { noise: input(at('noise')) });
      const marginal = diffusion.qMeanVariance(x0, example.t);
      const posterior = diffusion.qPosterior(x0, input(at('x_t')), Int32Array.from(example.t));
      await expectClose(xt, at('x_t'));
      await expectClose(marginal.mean, at('q_mean'));
      await expectClose(marginal.variance, at('q_variance'));
      await expectClose(marginal.logVariance, at('q_log_variance'));
      await expectClose(posterior.mean, at('posterior_mean'));
      await expectClose(posterior.variance, at('posterior_variance'));
      await expectClose(posterior.logVariance, at('posterior_log_variance_clipped'));
      expect(marginal.variance.shape).toEqual([4]);
    });
  });

  describe('reverse steps against improved-diffusion', () => {
    test.each(ofKind('p'))('$id', async (example) => {
      const diffusion = new GaussianDiffusion(device, scheduleOf(example), optionsOf(example));
      const at = (name: string) => `${example.id}/${name}`;
      const close = (got: Tensor, name: string) => expectClose(got, at(name), 1e-5, 4 * (example.noise[name] as number));
      const output = input(at('model_output'));
      const x = input(`${example.context}/in/x`);
      const t = device.tensor(Int32Array.from(example.t), [4]);
      const moments = diffusion.pMeanVariance(output, x, t);
      const step = diffusion.pSample(output, x, t, { noise: input(`${example.context}/in/step_noise`) });
      await close(moments.mean, 'mean');
      await close(moments.variance, 'variance');
      await close(moments.logVariance, 'log_variance');
      await close(moments.predXStart, 'pred_xstart');
      await close(step.sample, 'sample');
      await close(step.predXStart, 'pred_xstart');
      expect(await values(step.predXStart)).toEqual(await values(moments.predXStart));
    });
  });

  describe('DDIM against improved-diffusion', () => {
    test.each(ofKind('ddim'))('$id', async (example) => {
      const diffusion = new GaussianDiffusion(device, scheduleOf(example), optionsOf(example));
      const at = (name: string) => `${example.id}/${name}`;
      const output = input(at('model_output'));
      const x = input(`${example.context}/in/x`);
      const noise = input(`${example.context}/in/step_noise`);
      for (const eta of example.etas) {
        const { sample, predXStart } = diffusion.ddimSample(output, x, example.t, { eta, noise });
        const name = `sample_eta${eta.toFixed(1)}`;
        await expectClose(sample, at(name), eta > 0 ? 5e-4 : 1e-5, 4 * (example.noise[name] ?? 0));
        await expectClose(predXStart, at('pred_xstart'), 1e-5, 4 * (example.noise.pred_xstart ?? 0));
      }
      const { sample } = diffusion.ddimReverseSample(output, x, example.t);
      await expectClose(sample, at('reverse_sample'), 5e-4, 4 * (example.noise.reverse_sample ?? 0));
    });
  });

  test('the reference data hold every combination', () => {
    expect([ofKind('q').length, ofKind('p').length, ofKind('ddim').length]).toEqual([4, 24, 16]);
  });
});
