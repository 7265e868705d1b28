import { backward } from '../autograd/backward.js';
import type { Device } from '../device.js';
import { GaussianDiffusion } from '../diffusion/gaussian.js';
import { NoiseSchedule } from '../diffusion/schedule.js';
import { UNet } from '../nn/unet.js';
import { mean } from '../ops/reduce.js';
import { AdamW } from '../training/adamW.js';
import { type Check, check, relativeL2, relativeMaximum } from './check.js';
import { hashValues } from './hashValues.js';
import { entry, uploadStored, type Vectors } from './vectors.js';

/** Ten steps of training: losses, gradient norms, and the last layer's weights with their moving average at the end. */
export async function* verifyOptimizer(device: Device, vectors: Vectors): AsyncGenerator<Check> {
  const {
    steps,
    lr,
    wd,
    betas,
    eps,
    ema,
    clip,
    seed,
    losses,
    grad_norm_before_clip: norms,
    config,
  } = vectors.description.optimizer;
  using model = UNet.fromDiffusers(device, config);
  for (const [name, parameter] of model.parameters()) parameter.write(hashValues(name, seed, parameter.shape));
  using diffusion = new GaussianDiffusion(device, NoiseSchedule.linear({ timesteps: 1000 }));
  using optimizer = new AdamW(model.parameters(), {
    learningRate: lr,
    weightDecay: wd,
    gradientClip: clip,
    emaDecay: ema,
    emaWarmup: false,
    betas,
    eps,
  });
  const part = (name: string, step: number) => entry(vectors.get(`optimizer/${name}`), step);
  const computed: { losses: number[]; norms: number[] } = { losses: [], norms: [] };
  for (let step = 0; step < steps; step++) {
    optimizer.zeroGrad();
    using x0 = uploadStored(device, part('x_start', step));
    using noise = uploadStored(device, part('noise', step));
    using losses = diffusion.trainingLosses(model, x0, part('t', step).values as Int32Array, { noise }).loss;
    using loss = mean(losses);
    backward(loss);
    optimizer.step();
    computed.losses.push((await loss.read())[0] as number);
    computed.norms.push((await optimizer.gradientNorm.read())[0] as number);
  }
  yield check('training', `losses of ${steps} steps, relative`, relativeMaximum(computed.losses, losses, steps), 2e-4);
  yield check('training', `gradient norms of ${steps} steps, relative`, relativeMaximum(computed.norms, norms, steps), 1e-3);
  const last = 'conv_out.weight';
  const ends = { final: await model.parameters().get(last)?.read(), ema: await optimizer.ema(last) };
  for (const [name, values = []] of Object.entries(ends)) {
    const reference = vectors.get(`optimizer/${name}`).values;
    yield check('training', `${last} at the end (${name}), relative L2`, relativeL2(values, reference), 1e-3);
  }
}
