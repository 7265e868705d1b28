import { OptionError } from '../../errors.js';
import { ddim } from '../solvers/ddim.js';
import { ddpm, type ProcessSteps } from '../solvers/ddpm.js';
import { type Solution, startFrom } from '../solvers/solution.js';
import { chosenTimesteps, processTimesteps } from '../timestepLists.js';
import type { DiffusersTask } from './options.js';

/** DDPMScheduler: noise in every step but one at t = 0, of the variance between a step and the next one of the list. */
export function ddpmOfDiffusers(task: DiffusersTask): Solution {
  const { keys, owner, upstream } = task;
  const { variance_type: type } = keys;
  if (upstream && (type === 'fixed_large_log' || type === 'learned'))
    throw new OptionError(
      `${owner}: key 'variance_type' must be one that diffusers computes with compatibility 'diffusers', got '${type}', ` +
        (type === 'learned' ? 'of which it takes the square root, not the exponential' : 'with which its steps are NaN'),
    );
  const variance = ({ learned: 'learned', learned_range: 'learnedRange' } as const)[type as string] ?? fixed(type);
  return ddpm({ ...stepsOf(task), variance, quiet: 'zero' });
}

const fixed = (type: string) => (type.startsWith('fixed_small') ? 'fixedSmall' : 'fixedLarge');

/** DDIMScheduler: ε as the model says unless `useClippedModelOutput`; the last step leads to ᾱ = 1, or that of step 0. */
export function ddimOfDiffusers(task: DiffusersTask): Solution {
  const { keys, options, alphasCumprod, upstream } = task;
  const steps = stepsOf(task);
  const last = keys.set_alpha_to_one ? 1 : (alphasCumprod[0] as number);
  const stride = Math.floor(alphasCumprod.length / options.steps);
  const following = (t: number, k: number) => (upstream ? t - stride : (steps.timesteps[k + 1] ?? -1));
  const targets = steps.timesteps.map((t, k) => alphasCumprod[following(t, k)] ?? last);
  return ddim({ ...steps, targets, eta: options.eta, rederived: options.useClippedModelOutput });
}

function stepsOf({ owner, keys, options, alphasCumprod }: DiffusersTask): ProcessSteps {
  const T = alphasCumprod.length;
  const { timestep_spacing: spacing, steps_offset: offset, prediction_type: prediction } = keys;
  const timesteps = options.timesteps
    ? chosenTimesteps(owner, T, options.timesteps, false)
    : processTimesteps({ owner, T, steps: options.steps, spacing, offset });
  const alphaBars = timesteps.map((t) => alphasCumprod[t] as number);
  return { timesteps, alphaBars, starts: alphaBars.map((alphaBar) => startFrom(prediction, alphaBar)) };
}
