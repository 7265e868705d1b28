import type { Variance } from '../../diffusion/tables.js';
import type { ReverseRow, Solution, Start } from './solution.js';

/** The steps of `ddpm` and `ddim`, from high noise to low. */
export interface ProcessSteps {
  timesteps: readonly number[];
  /** How x_0 follows from the model's output at each of them. */
  starts: readonly Start[];
  /** ᾱ at each of them. */
  alphaBars: readonly number[];
}

interface DdpmSettings extends ProcessSteps {
  variance: Variance;
  /** No noise: in the last step as improved-diffusion; only when that step is 0, as diffusers. */
  quiet: 'last' | 'zero';
  /** Whether the model's output is the mean of a step to the one before, whatever x_0 is made into, as in improved-diffusion. */
  outright?: boolean;
}

/** diffusers keeps a variance from being 0, for its logarithm. */
const leastVariance = 1e-20;

/** The posterior's mean with x_0 as predicted, plus noise (Ho et al. 2020, arXiv 2006.11239, equation 7 and algorithm 2). */
export function ddpm({ timesteps, starts, alphaBars, variance, quiet, outright = false }: DdpmSettings): Solution {
  const rows = alphaBars.map((alphaBar, k): ReverseRow => {
    const before = alphaBars[k + 1] ?? 1;
    const alpha = alphaBar / before;
    const beta = 1 - alpha;
    const small = Math.max(((1 - before) / (1 - alphaBar)) * beta, leastVariance);
    const silent = quiet === 'last' ? k === alphaBars.length - 1 : timesteps[k] === 0;
    const noise = {
      fixedSmall: { d: Math.sqrt(small) },
      fixedLarge: { d: Math.sqrt(beta) },
      learned: { d: 1 },
      learnedRange: { d: 1, lmin: Math.log(small), lmax: Math.log(beta) },
    }[variance];
    const said = outright && (timesteps[k + 1] ?? -1) === (timesteps[k] as number) - 1;
    const a = (Math.sqrt(alpha) * (1 - before)) / (1 - alphaBar);
    const b = (Math.sqrt(before) * beta) / (1 - alphaBar);
    return {
      ...(starts[k] as Start),
      ...(said ? { g: 1 } : { a, b }),
      ...noise,
      ...(silent && { d: 0 }),
    };
  });
  return { timesteps, rows };
}
