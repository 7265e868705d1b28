import type { Device } from '../device.js';
import { GaussianDiffusion } from '../diffusion/gaussian.js';
import { NoiseSchedule } from '../diffusion/schedule.js';
import type { Tensor } from '../tensor.js';
import { type Check, check, read, relativeMaximum } from './check.js';
import type { Description, ProcessContext, Vectors } from './vectors.js';

const predictions = { eps: 'epsilon', x0: 'sample' } as const;
const variances = {
  fixed_small: 'fixedSmall',
  fixed_large: 'fixedLarge',
  learned: 'learned',
  learned_range: 'learnedRange',
} as const;

/** The options of `GaussianDiffusion` that are those of the reference. */
export const processOptions = ({ mean, var: variance, rescale_timesteps: rescaleTimesteps }: ProcessContext) => ({
  prediction: predictions[mean ?? 'eps'],
  variance: variances[variance ?? 'fixed_small'],
  rescaleTimesteps,
});

/** improved-diffusion's schedule: its linear one is rescaled to the number of steps. */
export function scheduleOf({ schedule, T, sections }: Pick<ProcessContext, 'schedule' | 'T' | 'sections'>): NoiseSchedule {
  const full =
    schedule === 'linear' ? NoiseSchedule.linear({ timesteps: T, rescaled: true }) : NoiseSchedule.cosine({ timesteps: T });
  return sections === null ? full : full.respace(sections);
}

/** Noising, posteriors and single reverse steps of improved-diffusion, at the first and last steps and between. */
export async function* verifyProcess(device: Device, vectors: Vectors): AsyncGenerator<Check> {
  for (const one of vectors.description.process) {
    if (one.kind === 'shared_input') continue;
    using diffusion = new GaussianDiffusion(device, scheduleOf(one), { ...processOptions(one), clipDenoised: one.clip ?? true });
    const computed = compute(diffusion, one, (name) => vectors.upload(device, `process/${name}`));
    for (const [quantity, tensor] of Object.entries(computed)) {
      const reference = vectors.get(`process/${one.id}/${quantity}`);
      const floor = (4 * (one.noise?.[quantity] ?? 0)) / 1e-5;
      const error = relativeMaximum(await read(tensor, reference), reference.values, one.t.length, floor);
      yield check(`process ${one.id}`, `${quantity}, of the largest`, error, 1e-5);
      tensor.dispose();
    }
  }
}

function compute(
  diffusion: GaussianDiffusion,
  { id, kind, t, etas }: Description['process'][number],
  upload: (name: string) => Tensor,
): Record<string, Tensor> {
  const [context] = id.split('/') as [string];
  if (kind === 'q') {
    const [x0, noise] = [upload(`${id}/x_start`), upload(`${id}/noise`)];
    const { xt } = diffusion.qSample(x0, t, { noise });
    const q = diffusion.qMeanVariance(x0, t);
    const posterior = diffusion.qPosterior(x0, xt, t);
    return {
      x_t: xt,
      q_mean: q.mean,
      q_variance: q.variance,
      q_log_variance: q.logVariance,
      posterior_mean: posterior.mean,
      posterior_variance: posterior.variance,
      posterior_log_variance_clipped: posterior.logVariance,
    };
  }
  const [x, output, noise] = [upload(`${context}/in/x`), upload(`${id}/model_output`), upload(`${context}/in/step_noise`)];
  if (kind === 'p') {
    const p = diffusion.pMeanVariance(output, x, t);
    const { sample } = diffusion.pSample(output, x, t, { noise });
    return { mean: p.mean, variance: p.variance, log_variance: p.logVariance, pred_xstart: p.predXStart, sample };
  }
  const steps = (etas ?? []).map((eta) => {
    const { sample } = diffusion.ddimSample(output, x, t, { eta, noise });
    return [`sample_eta${eta.toFixed(1)}`, sample] as const;
  });
  return { ...Object.fromEntries(steps), reverse_sample: diffusion.ddimReverseSample(output, x, t).sample };
}
