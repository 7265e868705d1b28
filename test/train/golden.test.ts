import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { AdamW, backward, type Device, GaussianDiffusion, NoiseSchedule, openDevice, ops, UNet } from '../../lib/index.js';
import { maxAbs, relL2 } from '../support/compare.js';
import { type GoldenTensor, loadGolden, loadGoldenJson } from '../support/golden.js';
import { goldenPath, sharedGolden } from '../support/shared.js';

interface Case {
  steps: number;
  lr: number;
  wd: number;
  betas: [number, number];
  eps: number;
  ema: number;
  clip: number;
  losses: number[];
  grad_norm_before_clip: number[];
  float32_vs_float64_noise: { zero_gradient_tensors: string[] };
}

/** The k-th of tensors that are stacked on axis 0. */
function slice({ shape, values }: GoldenTensor, k: number): { shape: number[]; values: Float32Array } {
  const size = values.length / (shape[0] as number);
  return { shape: shape.slice(1), values: values.slice(k * size, (k + 1) * size) };
}

let device: Device;
beforeAll(async () => {
  device = await openDevice('cpu');
});
afterAll(() => device.close());

test('ten steps are those of PyTorch, diffusers and improved-diffusion', async () => {
  const settings = loadGoldenJson<Case>('optim/case.json');
  const data = await loadGolden('optim/data.safetensors');
  const model = await UNet.load(device, goldenPath(join('optim', 'model_init')));
  const diffusion = new GaussianDiffusion(device, NoiseSchedule.linear({ timesteps: 1000 }));
  const { lr: learningRate, wd: weightDecay, clip: gradientClip, ema: emaDecay, betas, eps } = settings;
  const optimizer = new AdamW(model.parameters(), { learningRate, weightDecay, gradientClip, emaDecay, betas, eps });
  const image = (name: string, step: number) => {
    const { shape, values } = slice(data.get(name) as GoldenTensor, step);
    return device.tensor(values, shape, { layout: 'nchw' });
  };
  for (let step = 0; step < settings.steps; step++) {
    optimizer.zeroGrad();
    const t = Int32Array.from(slice(data.get('t') as GoldenTensor, step).values);
    const losses = diffusion.trainingLosses(model, image('x_start', step), t, { noise: image('noise', step) });
    const loss = ops.mean(losses.loss);
    backward(loss);
    if (step === 0 && sharedGolden) await compareGradients(model, join(sharedGolden, 'optim', 'step1_grads.safetensors'));
    optimizer.step();
    const [lossTolerance, normTolerance] = step < 3 ? [2e-5, 1e-4] : [2e-4, 1e-3];
    expect(relL2(await loss.read(), [settings.losses[step] as number])).toBeLessThan(lossTolerance);
    const norm = settings.grad_norm_before_clip[step] as number;
    expect(relL2(await optimizer.gradientNorm.read(), [norm])).toBeLessThan(normTolerance);
  }
  const { zero_gradient_tensors: excluded } = settings.float32_vs_float64_noise;
  await compare(await loadGolden('optim/final.safetensors'), excluded, (name) => {
    const parameter = model.parameters().get(name);
    return parameter ? parameter.read() : Promise.reject(new Error(name));
  });
  await compare(await loadGolden('optim/ema.safetensors'), excluded, (name) => optimizer.ema(name));
});

/** Only where the full set of reference data is at hand. */
async function compareGradients(model: UNet, path: string): Promise<void> {
  const golden = await loadGolden(path);
  const norm = Math.hypot(...[...golden.values()].map(({ values }) => Math.hypot(...values)));
  for (const [name, parameter] of model.parameters())
    expect(maxAbs(await parameter.readGrad(), golden.get(name)?.values ?? []) / norm, name).toBeLessThan(1e-5);
}

/** Tolerances of the reference's own description: 1e-3 in the L2 norm of everything, 2e-4 in any element. */
async function compare(
  golden: Map<string, GoldenTensor>,
  excluded: readonly string[],
  read: (name: string) => Promise<Float32Array>,
): Promise<void> {
  let squares = 0;
  for (const [name, { values }] of golden) {
    if (excluded.includes(name)) continue;
    const ours = await read(name);
    expect(maxAbs(ours, values), name).toBeLessThan(2e-4);
    for (const [i, value] of values.entries()) squares += (value - (ours[i] as number)) ** 2;
  }
  expect(Math.sqrt(squares)).toBeLessThan(1e-3);
}
