import { backward } from '../autograd/backward.js';
import type { Device } from '../device.js';
import { UNet } from '../nn/unet.js';
import { mseLoss } from '../ops/reduce.js';
import { type Check, check, read, relativeL2 } from './check.js';
import { hashValues } from './hashValues.js';
import type { Description, Vectors } from './vectors.js';

/** Networks of diffusers: output, loss and the norm of every parameter's gradient of mean((output − target)²). */
export async function* verifyNetworks(device: Device, vectors: Vectors): AsyncGenerator<Check> {
  for (const one of vectors.description.networks) yield* verifyNetwork(device, vectors, one);
}

async function* verifyNetwork(device: Device, vectors: Vectors, one: Description['networks'][number]): AsyncGenerator<Check> {
  const name = `network ${one.id}`;
  const stored = (tensor: string) => vectors.get(`unet/${one.id}/${tensor}`);
  using model = UNet.fromDiffusers(device, one.config);
  for (const { name: parameter } of one.parameters) {
    const found = model.parameters().get(parameter);
    if (!found) yield check(name, `parameter ${parameter}`, Number.NaN, 0);
    else found.write(hashValues(parameter, one.seed, found.shape));
  }
  using x = vectors.upload(device, `unet/${one.id}/x`);
  using target = vectors.upload(device, `unet/${one.id}/target`);
  const labels = one.labels ?? undefined;
  using y = model.forward(x, stored('t').values, { train: true, ...(labels && { labels }) });
  using loss = mseLoss(y, target);
  const out = await read(y, stored('out'));
  yield check(name, 'output, relative L2', relativeL2(out, stored('out').values), 1e-5);
  yield check(name, 'output, largest difference', largestDifference(out, stored('out').values), 5e-5);
  yield check(name, 'loss, relative', relativeL2(await loss.read(), [one.loss]), 1e-5);
  backward(loss);
  let worst = 0;
  for (const { name: parameter, gradient } of one.parameters) {
    const found = model.parameters().get(parameter);
    if (!found || one.zero_gradient_tensors.includes(parameter)) continue;
    const error = relativeL2([Math.hypot(...(await found.readGrad()))], [gradient]);
    worst = error > worst || Number.isNaN(error) ? error : worst;
  }
  yield check(name, `norms of ${one.parameters.length} gradients, relative`, worst, 1e-4);
}

const largestDifference = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  Array.from(b).reduce((most, value, i) => Math.max(most, Math.abs((a[i] as number) - value)), 0);
