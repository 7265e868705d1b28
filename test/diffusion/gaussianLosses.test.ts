import { beforeAll, describe, expect, test } from 'vitest';
import { Parameter } from '../../lib/autograd/parameter.js';
import { backward } from '../../lib/autograd/tape.js';
import type { Device } from '../../lib/device.js';
import { BoundBatch } from '../../lib/diffusion/boundBatch.js';
import { GaussianDiffusion } from '../../lib/diffusion/gaussian.js';
import type { LossKind } from '../../lib/diffusion/gaussianOptions.js';
import { ProcessTables } from '../../lib/diffusion/processTables.js';
import { varianceKind } from '../../lib/diffusion/tables.js';
import { measureBound } from '../../lib/diffusion/variationalBound.js';
import { add, mean } from '../../lib/ops/index.js';
import type { Tensor } from '../../lib/tensor.js';
import { eachDevice } from '../support/devices.js';
import { type GoldenTensor, loadGolden, loadGoldenJson } from '../support/golden.js';
import { comparison, conformGradient, optionsOf, type ProcessCase, scheduleOf, upload, values } from './process.js';

const file = 'process/iddpm_losses';
const all = loadGoldenJson<{ cases: ProcessCase[] }>(`${file}.json`).cases;
const cases = all.filter(({ kind }) => kind === 'training_losses');
const losses: Record<string, LossKind> = { mse: 'mse', rescaled_mse: 'rescaledMse', kl: 'kl', rescaled_kl: 'rescaledKl' };

eachDevice((id, open) => {
  let device: Device;
  let golden: Map<string, GoldenTensor>;
  beforeAll(async () => {
    device = await open();
    golden = await loadGolden(`${file}.safetensors`);
  });

  const compare = (example: ProcessCase) =>
    comparison({ file, id: example.id, device: id }, (name) => golden.get(`${example.id}/${name}`) as GoldenTensor);
  const make = (example: ProcessCase) =>
    new GaussianDiffusion(device, scheduleOf(example), { ...optionsOf(example), loss: losses[example.loss] });

  test('the reference data hold every loss', () => expect(cases.length).toBe(48));

  test.each(cases)('$id', async (example) => {
    const close = compare(example);
    const reference = (name: string) => golden.get(`${example.id}/${name}`) as GoldenTensor;
    const input = (name: string) => golden.get(`${example.id.split('/')[0]}/in/${name}`) as GoldenTensor;
    const output = upload(device, reference('model_output'));
    const zero = device.zeros(output.shape);
    const parameter = new Parameter('output', output.shape, 'plain', output, device.zeros(output.shape));
    const seen: { xt?: Float32Array; t?: ArrayLike<number> } = {};
    const model = async (xt: Tensor, t: Tensor) => {
      seen.xt = await values(xt);
      seen.t = await t.read();
      return add(parameter, zero);
    };
    using diffusion = make(example);
    const noise = upload(device, input('noise'));
    const found = await diffusion.trainingLosses(model, upload(device, input('x_start')), example.t, { noise });
    const inputs = comparison({ file, id: `${example.id.split('/')[0]}/in`, device: id }, input);
    await inputs(seen.xt as Float32Array, 'x_t');
    expect(Array.from(seen.t as ArrayLike<number>)).toEqual(example.model_t);
    await close(found.loss, 'loss', 2e-4, 2e-6);
    for (const name of ['mse', 'vb'] as const)
      if (example.tensors.includes(name)) await close(found[name] as Tensor, name, 2e-4, 2e-6);
    expect(found.mse !== undefined).toBe(example.tensors.includes('mse'));

    backward(mean(found.loss));
    conformGradient(
      { file, id: example.id, device: id },
      await values(parameter.grad),
      reference('grad_model_output').values,
      4,
      1e-3,
    );
  });

  // What calc_bpd_loop of improved-diffusion adds up: with x_0 clipped, whatever the objective.
  test.each(cases)('$id: the term of the bound with x_0 clipped', async (example) => {
    const input = (name: string) => upload(device, golden.get(`${example.id.split('/')[0]}/in/${name}`) as GoldenTensor);
    const { variance = 'fixedSmall', prediction = 'epsilon' } = optionsOf(example);
    const tables = new ProcessTables({ device, schedule: scheduleOf(example), prediction, variance, rescaleTimesteps: false });
    const vb = device.zeros([4]);
    const output = upload(device, golden.get(`${example.id}/model_output`) as GoldenTensor);
    // The mean of x_{t-1} is what the model says it is, clipped or not.
    const clip = prediction === 'previous' ? 0 : 1;
    const inputs = { table: tables.bound(), variance: varianceKind(variance), clip, noise: input('noise') };
    const t = device.tensor(Int32Array.from(example.t), [4]);
    measureBound(output, { ...inputs, x0: input('x_start'), xt: input('x_t'), t }, { vb, xStartMse: null, mse: null });
    await compare(example)(vb, 'vb_terms_clip', 2e-4, 2e-6 + 4 * (example.noise.vb_terms_clip as number));
    tables.dispose();
  });

  describe('the prior', () => {
    test.each(all.filter(({ kind }) => kind === 'shared_input'))('$id', async (example) => {
      const tables = new ProcessTables({ device, schedule: scheduleOf(example), ...plain });
      const process = { ...plain, ...unused, device, schedule: scheduleOf(example), tables };
      using batch = new BoundBatch(process, (xt) => xt, upload(device, golden.get(`${example.id}/x_start`) as GoldenTensor), {
        labels: null,
        noises: null,
      });
      await compare(example)(await batch.prior(), 'prior_bpd', 1e-4, 1e-9);
      tables.dispose();
    });
  });
});

const plain = { prediction: 'epsilon', variance: 'fixedSmall', rescaleTimesteps: false } as const;
const unused = {
  ...{ clipDenoised: true, denoisedFn: undefined, dynamicThreshold: undefined, minSnrGamma: 5 },
  ...({ loss: 'mse', lossWeighting: 'none', timestepSampler: 'uniform' } as const),
};
