import { describe, expect, test } from 'vitest';
import { backward } from '../../lib/autograd/backward.js';
import { Parameter } from '../../lib/autograd/parameter.js';
import { BoundBatch } from '../../lib/diffusion/boundBatch.js';
import { GaussianDiffusion } from '../../lib/diffusion/gaussian.js';
import type { LossKind } from '../../lib/diffusion/gaussianOptions.js';
import { ProcessTables } from '../../lib/diffusion/processTables.js';
import { varianceKind } from '../../lib/diffusion/tables.js';
import { measureBound } from '../../lib/diffusion/variationalBound.js';
import { add, mean } from '../../lib/ops/index.js';
import type { Tensor } from '../../lib/tensor.js';
import { loadGoldenJson } from '../support/golden.js';
import { conformGradient, eachReference, optionsOf, type ProcessCase, scheduleOf, values } from './process.js';

const file = 'process/iddpm_losses';
const all = loadGoldenJson<{ cases: ProcessCase[] }>(`${file}.json`).cases;
const cases = all.filter(({ kind }) => kind === 'training_losses');
const losses: Record<string, LossKind> = { mse: 'mse', rescaled_mse: 'rescaledMse', kl: 'kl', rescaled_kl: 'rescaledKl' };
/** What the cases of a schedule share. */
const inputsOf = ({ id }: ProcessCase) => ({ id: `${id.split('/')[0]}/in` });

eachReference(file, (on) => {
  const make = (example: ProcessCase) =>
    new GaussianDiffusion(on.device, scheduleOf(example), { ...optionsOf(example), loss: losses[example.loss] });

  test('the reference data hold every loss', () => expect(cases.length).toBe(48));

  test.each(cases)('$id', async (example) => {
    const { reference, input: own, close } = on.of(example);
    const { input, close: inputs } = on.of(inputsOf(example));
    const output = own('model_output');
    const zero = on.device.zeros(output.shape);
    const parameter = new Parameter('output', output.shape, 'plain', output, on.device.zeros(output.shape));
    const seen: { xt?: Float32Array; t?: ArrayLike<number> } = {};
    const model = async (xt: Tensor, t: Tensor) => {
      seen.xt = await values(xt);
      seen.t = await t.read();
      return add(parameter, zero);
    };
    using diffusion = make(example);
    const found = await diffusion.trainingLosses(model, input('x_start'), example.t, { noise: input('noise') });
    await inputs(seen.xt as Float32Array, 'x_t');
    expect(Array.from(seen.t as ArrayLike<number>)).toEqual(example.model_t);
    await close(found.loss, 'loss', 2e-4, 2e-6);
    for (const name of ['mse', 'vb'] as const)
      if (example.tensors.includes(name)) await close(found[name] as Tensor, name, 2e-4, 2e-6);
    expect(found.mse !== undefined).toBe(example.tensors.includes('mse'));

    backward(mean(found.loss));
    conformGradient(
      { file, id: example.id, device: on.id },
      await values(parameter.grad),
      reference('grad_model_output').values,
      4,
      1e-3,
    );
  });

  // What calc_bpd_loop of improved-diffusion adds up: with x_0 clipped, whatever the objective.
  test.each(cases)('$id: the term of the bound with x_0 clipped', async (example) => {
    const { input: own, close } = on.of(example);
    const { input } = on.of(inputsOf(example));
    const { variance = 'fixedSmall', prediction = 'epsilon' } = optionsOf(example);
    const tables = new ProcessTables({
      device: on.device,
      schedule: scheduleOf(example),
      prediction,
      variance,
      rescaleTimesteps: false,
    });
    const vb = on.device.zeros([4]);
    const output = own('model_output');
    // The mean of x_{t-1} is what the model says it is, clipped or not.
    const clip = prediction === 'previous' ? 0 : 1;
    const inputs = { table: tables.bound(), variance: varianceKind(variance), clip, noise: input('noise') };
    const t = on.device.tensor(Int32Array.from(example.t), [4]);
    measureBound(output, { ...inputs, x0: input('x_start'), xt: input('x_t'), t }, { vb, xStartMse: null, mse: null });
    await close(vb, 'vb_terms_clip', 2e-4, 2e-6 + 4 * (example.noise.vb_terms_clip as number));
    tables.dispose();
  });

  describe('the prior', () => {
    test.each(all.filter(({ kind }) => kind === 'shared_input'))('$id', async (example) => {
      const { input, close } = on.of(example);
      const tables = new ProcessTables({ device: on.device, schedule: scheduleOf(example), ...plain });
      const process = { ...plain, ...unused, device: on.device, schedule: scheduleOf(example), tables };
      using batch = new BoundBatch(process, (xt) => xt, input('x_start'), {
        labels: null,
        noises: null,
      });
      await close(await batch.prior(), 'prior_bpd', 1e-4, 1e-9);
      tables.dispose();
    });
  });
});

const plain = { prediction: 'epsilon', variance: 'fixedSmall', rescaleTimesteps: false } as const;
const unused = {
  ...{ clipDenoised: true, denoisedFn: undefined, dynamicThreshold: undefined, minSnrGamma: 5 },
  ...({ loss: 'mse', lossWeighting: 'none', timestepSampler: 'uniform' } as const),
};
