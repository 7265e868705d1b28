import type { Device } from '../device.js';
import type { ModelFunction } from '../diffusion/model.js';
import { Sampler } from '../sampling/sampler.js';
import type { Tensor } from '../tensor.js';
import { type Check, check, read, relativeMaximum } from './check.js';
import { entry, type LinearModel, uploadStored, type Vectors } from './vectors.js';

/** Whole sampling loops of diffusers' schedulers with a model in closed form: x after every step. */
export async function* verifySamplers(device: Device, vectors: Vectors): AsyncGenerator<Check> {
  for (const one of vectors.description.samplers) {
    const steps = vectors.get(`samplers/${one.id}/prev_sample`);
    const { eta, s_churn: sChurn, s_tmin: sTmin, s_tmax: sTmax, s_noise: sNoise } = one.step_kwargs as Record<string, number>;
    const given = { steps: one.num_inference_steps, eta, sChurn, sTmin, sTmax, sNoise, compatibility: 'diffusers' };
    const options = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
    using sampler = Sampler.fromDiffusers(one.config, device, closedForm(one.model), options);
    using initial = vectors.upload(device, `samplers/${one.id}/init_sample`);
    const noises = one.noise_per_step.some(Boolean)
      ? drawnNoises(vectors, one.id).map((stored) => uploadStored(device, stored))
      : [];
    let worst = 0;
    let k = 0;
    for await (const { x } of sampler.steps({ initial, ...(noises.length > 0 && { noises }) })) {
      const reference = entry(steps, k++);
      const error = relativeMaximum(await read(x, reference), reference.values);
      worst = error > worst || Number.isNaN(error) ? error : worst;
    }
    for (const noise of noises) noise.dispose();
    yield check(
      `sampler ${one.id}`,
      `x after each of ${k} evaluations, of the largest`,
      k === steps.shape[0] ? worst : Number.NaN,
      1e-4,
    );
  }
}

function drawnNoises(vectors: Vectors, id: string) {
  const stacked = vectors.get(`samplers/${id}/noises`);
  return Array.from({ length: stacked.shape[0] as number }, (_, k) => entry(stacked, k));
}

/** f(x, t) = g(t)·x + h(t), computed in float32 outside of the device. */
function closedForm({ a, b, c, d, w }: LinearModel): ModelFunction<Promise<Tensor>> {
  return async (xt, t) => {
    const [x, [step = Number.NaN]] = await Promise.all([xt.read(), t.read()]);
    const g = Math.fround(a + (b * step) / (step + c));
    const h = Math.fround(d * Math.cos(w * step));
    return xt.device.tensor(
      Float32Array.from(x, (value) => Math.fround(g * value) + h),
      xt.shape,
    );
  };
}
