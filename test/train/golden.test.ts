import { join } from 'node:path';
import { test } from 'vitest';
import { AdamW, backward, GaussianDiffusion, NoiseSchedule, ops, UNet } from '../../lib/index.js';
import type { Description } from '../../lib/verification/vectors.js';
import { maxAbs, relL2 } from '../support/compare.js';
import { conform, type ReferenceCase } from '../support/conformance.js';
import { eachDevice } from '../support/devices.js';
import { entryOf, type GoldenTensor, loadGolden, loadGoldenJson } from '../support/golden.js';
import { fullestPath, goldenPath, sharedGolden } from '../support/shared.js';

type Case = Omit<Description['optimizer'], 'seed' | 'config'> & {
  float32_vs_float64_noise: { zero_gradient_tensors: string[] };
};

eachDevice((id, open) => {
  test('ten steps are those of PyTorch, diffusers and improved-diffusion', async () => {
    const reference = { file: 'optim', id: 'optim', device: id };
    const device = await open();
    const settings = loadGoldenJson<Case>('optim/case.json');
    const data = await loadGolden('optim/data.safetensors');
    const model = await UNet.load(device, goldenPath(join('optim', 'model_init')));
    const diffusion = new GaussianDiffusion(device, NoiseSchedule.linear({ timesteps: 1000 }));
    const { lr: learningRate, wd: weightDecay, clip: gradientClip, ema: emaDecay, betas, eps } = settings;
    const optimizer = new AdamW(model.parameters(), { learningRate, weightDecay, gradientClip, emaDecay, betas, eps });
    const image = (name: string, step: number) => {
      const { shape, values } = entryOf(data.get(name) as GoldenTensor, step);
      return device.tensor(values, shape, { layout: 'nchw' });
    };
    for (let step = 0; step < settings.steps; step++) {
      optimizer.zeroGrad();
      const t = Int32Array.from(entryOf(data.get('t') as GoldenTensor, step).values);
      const losses = diffusion.trainingLosses(model, image('x_start', step), t, { noise: image('noise', step) });
      const loss = ops.mean(losses.loss);
      backward(loss);
      if (step === 0 && sharedGolden)
        await compareGradients(reference, model, join(sharedGolden, 'optim/step1_grads.safetensors'));
      optimizer.step();
      const [lossTolerance, normTolerance] = step < 3 ? [2e-5, 1e-4] : [2e-4, 1e-3];
      conform(reference, 'loss, relative', relL2(await loss.read(), [settings.losses[step] as number]), lossTolerance);
      const norm = settings.grad_norm_before_clip[step] as number;
      conform(reference, 'gradient norm, relative', relL2(await optimizer.gradientNorm.read(), [norm]), normTolerance);
    }
    const { zero_gradient_tensors: excluded } = settings.float32_vs_float64_noise;
    await compare(reference, 'final', excluded, (name) => {
      const parameter = model.parameters().get(name);
      return parameter ? parameter.read() : Promise.reject(new Error(name));
    });
    await compare(reference, 'ema', excluded, (name) => optimizer.ema(name));
    optimizer.dispose();
    model.dispose();
  });
});

/** Only where the full set of reference data is at hand. */
async function compareGradients(reference: ReferenceCase, model: UNet, path: string): Promise<void> {
  const golden = await loadGolden(path);
  const norm = Math.hypot(...[...golden.values()].map(({ values }) => Math.hypot(...values)));
  for (const [name, parameter] of model.parameters()) {
    const error = maxAbs(await parameter.readGrad(), golden.get(name)?.values ?? []) / norm;
    conform(reference, `first gradient of ${name}, max abs of its norm`, error, 1e-5);
  }
}

/**
 * Tolerances of the reference's own description: 1e-3 in the L2 norm of everything, 2e-4 in any element. The project's selection has
 * every 17th value of a tensor, which then stands for 17.
 */
async function compare(
  reference: ReferenceCase,
  file: string,
  excluded: readonly string[],
  read: (name: string) => Promise<Float32Array>,
): Promise<void> {
  let squares = 0;
  for (const [name, { values }] of await loadGolden(fullestPath(`optim/${file}.safetensors`))) {
    if (excluded.includes(name)) continue;
    const ours = await read(name);
    const stride = ours.length > values.length ? 17 : 1;
    const picked = ours.filter((_, i) => i % stride === 0);
    conform(reference, `${file} ${name}, max abs`, maxAbs(picked, values), 2e-4);
    for (const [i, value] of values.entries()) squares += stride * (value - (picked[i] as number)) ** 2;
  }
  conform(reference, `${file}, L2 of all differences`, Math.sqrt(squares), 1e-3);
}
