import type { ProcessSteps } from './ddpm.js';
import { noiseFrom, type ReverseRow, type Solution, type Start } from './solution.js';

interface DdimSettings extends ProcessSteps {
  /** ᾱ that each step leads to. */
  targets: readonly number[];
  /** 0: no noise; 1: that of the posterior. */
  eta: number;
  /** Whether ε is derived again from the clipped x_0, as in improved-diffusion and GLIDE, or taken from the output as it is. */
  rederived: boolean;
}

/** x' = √ᾱ'·x_0 + √(1 - ᾱ' - σ²)·ε + σ·z (Song et al. 2021, arXiv 2010.02502, equations 12 and 16). */
export function ddim({ timesteps, starts, alphaBars, targets, eta, rederived }: DdimSettings): Solution {
  const rows = alphaBars.map((alphaBar, k): ReverseRow => {
    const target = targets[k] as number;
    const variance = eta * eta * Math.max(0, ((1 - target) / (1 - alphaBar)) * (1 - alphaBar / target));
    const direction = Math.sqrt(Math.max(0, 1 - target - variance));
    const start = starts[k] as Start;
    const step = { ...start, b: Math.sqrt(target), d: Math.sqrt(variance) };
    if (rederived) {
      const ex = 1 / Math.sqrt(1 - alphaBar);
      return { ...step, ex, e0: -Math.sqrt(alphaBar) * ex, f: direction };
    }
    const epsilon = noiseFrom(start, alphaBar);
    return { ...step, a: direction * epsilon.x, g: direction * epsilon.output };
  });
  return { timesteps, rows };
}
