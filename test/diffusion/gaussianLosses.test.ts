import { beforeAll, expect, test } from 'vitest';
import { Parameter } from '../../lib/autograd/parameter.js';
import { backward } from '../../lib/autograd/tape.js';
import type { Device } from '../../lib/device.js';
import { GaussianDiffusion } from '../../lib/diffusion/gaussian.js';
import { add, mean } from '../../lib/ops/index.js';
import type { Tensor } from '../../lib/tensor.js';
import { eachDevice } from '../support/devices.js';
import { type GoldenTensor, loadGolden, loadGoldenJson } from '../support/golden.js';
import { comparison, conformGradient, optionsOf, type ProcessCase, scheduleOf, upload, values } from './process.js';

const file = 'process/iddpm_losses';
const all = loadGoldenJson<{ cases: ProcessCase[] }>(`${file}.json`).cases;
const learned = ({ var: variance }: { var: string }) => variance.startsWith('learned');
const cases = all.filter(({ kind, loss, ...example }) => kind === 'training_losses' && loss === 'mse' && !learned(example));

eachDevice((id, open) => {
  let device: Device;
  let golden: Map<string, GoldenTensor>;
  beforeAll(async () => {
    device = await open();
    golden = await loadGolden(`${file}.safetensors`);
  });

  const compare = (example: ProcessCase) =>
    comparison({ file, id: example.id, device: id }, (name) => golden.get(`${example.id}/${name}`) as GoldenTensor);
  const make = (example: ProcessCase) => new GaussianDiffusion(device, scheduleOf(example), { ...optionsOf(example) });

  test('the reference data hold every prediction', () => expect(cases.length).toBe(9));

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
    for (const name of ['mse'] as const) if (example.tensors.includes(name)) await close(found[name] as Tensor, name, 2e-4, 2e-6);
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
});
