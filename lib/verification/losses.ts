import { backward } from '../autograd/backward.js';
import { Parameter } from '../autograd/parameter.js';
import type { Device } from '../device.js';
import { GaussianDiffusion } from '../diffusion/gaussian.js';
import { scale } from '../ops/elementwise.js';
import { mean } from '../ops/reduce.js';
import { type Check, check, read, relativeL2, relativeMaximum } from './check.js';
import { processOptions, scheduleOf } from './process.js';
import type { Vectors } from './vectors.js';

const losses = { mse: 'mse', rescaled_mse: 'rescaledMse', kl: 'kl', rescaled_kl: 'rescaledKl' } as const;

/** Training objectives of improved-diffusion, and their gradients by the model's output. */
export async function* verifyLosses(device: Device, vectors: Vectors): AsyncGenerator<Check> {
  for (const one of vectors.description.losses) {
    if (!one.loss) continue;
    const name = `loss ${one.id}`;
    const [context] = one.id.split('/') as [string];
    using diffusion = new GaussianDiffusion(device, scheduleOf(one), { ...processOptions(one), loss: losses[one.loss] });
    using x0 = vectors.upload(device, `losses/${context}/in/x_start`);
    using noise = vectors.upload(device, `losses/${context}/in/noise`);
    using value = vectors.upload(device, `losses/${one.id}/model_output`);
    using grad = device.zeros(value.shape);
    const output = new Parameter('output', value.shape, 'plain', value, grad);
    const { loss } = diffusion.trainingLosses(() => scale(output, 1), x0, one.t, { noise });
    const reference = vectors.get(`losses/${one.id}/loss`);
    const floor = (4 * (one.noise?.loss ?? 0)) / 1e-5;
    const error = relativeMaximum(await read(loss, reference), reference.values, one.t.length, floor);
    yield check(name, 'loss, relative', error, 1e-5);
    backward(mean(loss));
    const wanted = vectors.get(`losses/${one.id}/grad_model_output`);
    yield check(name, 'gradient, relative L2', relativeL2(await read(grad, wanted), wanted.values), 1e-4);
  }
}
