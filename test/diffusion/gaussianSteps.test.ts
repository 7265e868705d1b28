import { describe, expect, test } from 'vitest';
import { GaussianDiffusion } from '../../lib/diffusion/gaussian.js';
import { notChecked } from '../support/conformance.js';
import { loadGoldenJson } from '../support/golden.js';
import { eachReference, optionsOf, type ProcessCase, scheduleOf, values } from './process.js';

const file = 'process/iddpm_steps';
const { cases } = loadGoldenJson<{ cases: ProcessCase[] }>(`${file}.json`);
const ofKind = (kind: string) => cases.filter((example) => example.kind === kind);

eachReference(file, (on) => {
  const input = (key: string) => on.upload(key);

  describe('the forward process against improved-diffusion', () => {
    test.each(ofKind('q'))('$id', async (example) => {
      using diffusion = new GaussianDiffusion(on.device, scheduleOf(example));
      const { close } = on.of(example);
      const at = (name: string) => `${example.id}/${name}`;
      const x0 = input(at('x_start'));
      const { xt } = diffusion.qSample(x0, example.t, { noise: input(at('noise')) });
      const marginal = diffusion.qMeanVariance(x0, example.t);
      const posterior = diffusion.qPosterior(x0, input(at('x_t')), Int32Array.from(example.t));
      await close(xt, 'x_t');
      await close(marginal.mean, 'q_mean');
      await close(marginal.variance, 'q_variance');
      await close(marginal.logVariance, 'q_log_variance');
      await close(posterior.mean, 'posterior_mean');
      await close(posterior.variance, 'posterior_variance');
      await close(posterior.logVariance, 'posterior_log_variance_clipped');
      expect(marginal.variance.shape).toEqual([4]);
    });
  });

  describe('reverse steps against improved-diffusion', () => {
    test.each(ofKind('p'))('$id', async (example) => {
      using diffusion = new GaussianDiffusion(on.device, scheduleOf(example), optionsOf(example));
      const { close: compared } = on.of(example);
      const close = (got: Parameters<typeof compared>[0], name: string) =>
        compared(got, name, 1e-5, 4 * (example.noise[name] as number));
      const output = input(`${example.id}/model_output`);
      const x = input(`${example.context}/in/x`);
      const t = on.device.tensor(Int32Array.from(example.t), [4]);
      const moments = diffusion.pMeanVariance(output, x, t);
      const step = diffusion.pSample(output, x, t, { noise: input(`${example.context}/in/step_noise`) });
      await close(moments.mean, 'mean');
      await close(moments.variance, 'variance');
      await close(moments.logVariance, 'log_variance');
      await close(moments.predXStart, 'pred_xstart');
      await close(step.sample, 'sample');
      await close(step.predXStart, 'pred_xstart');
      expect(await values(step.predXStart)).toEqual(await values(moments.predXStart));
      const learned = example.var.startsWith('learned');
      expect(moments.variance.shape).toEqual(learned ? x.shape : [4]);
    });
  });

  describe('DDIM against improved-diffusion', () => {
    test.each(ofKind('ddim'))('$id', async (example) => {
      using diffusion = new GaussianDiffusion(on.device, scheduleOf(example), optionsOf(example));
      const { close } = on.of(example);
      const output = input(`${example.id}/model_output`);
      const x = input(`${example.context}/in/x`);
      const noise = input(`${example.context}/in/step_noise`);
      for (const eta of example.etas) {
        const { sample, predXStart } = diffusion.ddimSample(output, x, example.t, { eta, noise });
        const name = `sample_eta${eta.toFixed(1)}`;
        await close(sample, name, eta > 0 ? 5e-4 : 1e-5, 4 * (example.noise[name] ?? 0));
        await close(predXStart, 'pred_xstart', 1e-5, 4 * (example.noise.pred_xstart ?? 0));
      }
      const { sample } = diffusion.ddimReverseSample(output, x, example.t);
      await close(sample, 'reverse_sample', 5e-4, 4 * (example.noise.reverse_sample ?? 0));
    });
  });

  test('the reference data hold every combination', () => {
    expect([ofKind('q').length, ofKind('p').length, ofKind('ddim').length]).toEqual([4, 52, 16]);
    for (const { id: name } of ofKind('shared_input')) notChecked({ file, id: name, device: on.id }, 'inputs of other cases');
  });
});
