import { NoiseSchedule } from '../diffusion/schedule.js';
import { type Check, check } from './check.js';
import type { Vectors } from './vectors.js';

const arrays = {
  betas: 'betas',
  alphas_cumprod: 'alphasCumprod',
  posterior_variance: 'posteriorVariance',
  posterior_log_variance_clipped: 'posteriorLogVarianceClipped',
  posterior_mean_coef1: 'posteriorMeanCoef1',
  posterior_mean_coef2: 'posteriorMeanCoef2',
} as const;

/** Schedules and respacings of improved-diffusion, in float64: no device computes them. */
export function* verifySchedules({ description }: Vectors): Generator<Check> {
  for (const { id, entries, ...reference } of description.schedules) {
    const schedule = NoiseSchedule[id]({ timesteps: 1000 });
    let worst = 0;
    for (const [name, ours] of Object.entries(arrays))
      for (const [i, wanted] of (reference[name] as number[]).entries()) {
        const got = schedule[ours][entries[i] as number] as number;
        const error = got === wanted ? 0 : Math.abs((got - wanted) / wanted);
        worst = error > worst || Number.isNaN(error) ? error : worst;
      }
    yield check(`schedule ${id}`, 'six arrays, relative', worst, 1e-12);
  }
  for (const { T, sections, timesteps } of description.respacings) {
    const kept = NoiseSchedule.linear({ timesteps: T }).respace(sections).timesteps;
    const differing = Math.abs(kept.length - timesteps.length) + timesteps.filter((t, i) => kept[i] !== t).length;
    yield check(`respacing ${T} by '${sections}'`, 'steps that differ', differing, 0);
  }
}
