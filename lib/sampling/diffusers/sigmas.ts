import { roundHalfEven } from '../../diffusion/respace.js';
import { OptionError } from '../../errors.js';
import {
  betaSigmas,
  exponentialSigmas,
  interpolate,
  karrasSigmas,
  type SigmaRange,
  sigmasOf,
  stepsAbove,
  timestepOfSigma,
} from '../noiseLevels.js';
import { dpmSolver } from '../solvers/dpmSolver.js';
import { euler, eulerAncestral, type SigmaSteps } from '../solvers/euler.js';
import { heun } from '../solvers/heun.js';
import type { Solution } from '../solvers/solution.js';
import { chosenTimesteps, dpmTimesteps, sigmaTimesteps } from '../timestepLists.js';
import type { DiffusersTask } from './options.js';

/** DPMSolverMultistepScheduler. */
export function dpmOfDiffusers(task: DiffusersTask): Solution {
  const { owner, keys, options, alphasCumprod, upstream } = task;
  const { algorithm_type, solver_type, solver_order: order, lambda_min_clipped } = keys;
  const algorithmType = algorithm_type === 'deis' ? 'dpmsolver++' : algorithm_type;
  const data = algorithmType.endsWith('++');
  const { final_sigmas_type: final = data ? 'zero' : 'sigma_min' } = keys;
  if (!data && final === 'zero')
    throw new OptionError(
      `${owner}: key 'final_sigmas_type' must be 'sigma_min' with algorithm_type '${algorithmType}', got 'zero'`,
    );
  if (algorithmType === 'sde-dpmsolver' && order === 3)
    throw new OptionError(`${owner}: key 'solver_order' must be 1 or 2 with algorithm_type 'sde-dpmsolver', got 3`);
  const levels = sigmasOf(alphasCumprod);
  const T = levels.length;
  const { timestep_spacing: spacing, steps_offset: offset } = keys;
  const range = { highest: levels[T - 1] as number, lowest: levels[0] as number, steps: options.steps };
  const even = evenSigmas(task, range);
  const listed = () => {
    if (options.timesteps) return chosenTimesteps(owner, T, options.timesteps, false);
    const end = stepsAbove(levels, lambda_min_clipped);
    if (end === 0) throw new OptionError(`${owner}: key 'lambda_min_clipped' = ${lambda_min_clipped} leaves no step`);
    return dpmTimesteps({ owner, T, steps: options.steps, spacing, offset }, end);
  };
  const timesteps = even ? even.map((sigma) => wholeTimestep(task, timestepOfSigma(levels, sigma))) : listed();
  const sigmas = even ?? timesteps.map((t) => interpolate(levels, t));
  return dpmSolver({
    ...{ algorithmType, order, timesteps, prediction: keys.prediction_type, upstreamSign: upstream },
    solverType: solver_type === 'heun' ? 'heun' : 'midpoint',
    lowerOrderFinal: keys.lower_order_final,
    eulerAtFinal: keys.euler_at_final,
    sigmas: [...sigmas, final === 'zero' ? 0 : range.lowest],
  });
}

/**
 * Rounded, but cut off for exponential levels, those of the beta distribution, and Karras's of a cosine schedule, where only
 * compatibility asks for that.
 */
function wholeTimestep({ keys, upstream }: DiffusersTask, t: number): number {
  const rounds = keys.use_karras_sigmas || keys.use_lu_lambdas;
  if (rounds && keys.beta_schedule !== 'squaredcos_cap_v2') return roundHalfEven(t);
  return upstream ? Math.floor(t + 1e-4) : t; // float32 leaves that of the first just below a whole number, or above
}

/** EulerDiscreteScheduler; with churn the model sees x before it. */
export function eulerOfDiffusers(task: DiffusersTask): Solution {
  const { keys } = task;
  const steps = sigmaSteps(task, keys.final_sigmas_type ?? 'zero');
  if (keys.timestep_type !== 'continuous' || keys.prediction_type !== 'v') return euler(steps, null);
  const timesteps = steps.sigmas.slice(0, -1).map((sigma) => 0.25 * Math.log(sigma));
  return euler({ ...steps, timesteps }, null);
}

/** EulerAncestralDiscreteScheduler. */
export function eulerAncestralOfDiffusers(task: DiffusersTask): Solution {
  return eulerAncestral(sigmaSteps(task, 'zero'));
}

/** HeunDiscreteScheduler. */
export function heunOfDiffusers(task: DiffusersTask): Solution {
  const levels = sigmasOf(task.alphasCumprod);
  return heun(sigmaSteps(task, 'zero'), (sigma) => timestepOfSigma(levels, sigma));
}

function sigmaSteps(task: DiffusersTask, final: 'zero' | 'sigma_min'): SigmaSteps {
  const { owner, keys, options, alphasCumprod } = task;
  const levels = sigmasOf(alphasCumprod);
  const T = levels.length;
  const { timestep_spacing: spacing, steps_offset: offset } = keys;
  const listed = options.timesteps
    ? chosenTimesteps(owner, T, options.timesteps, true)
    : sigmaTimesteps({ owner, T, steps: options.steps, spacing, offset });
  const { length: steps } = listed;
  const [highest, lowest] = [levels[T - 1] as number, levels[0] as number];
  const last = final === 'zero' ? 0 : lowest;
  const logarithmic = keys.interpolation_type === 'log_linear';
  // One level more than steps: the last step leads to it.
  const plain = logarithmic
    ? exponentialSigmas({ highest, lowest, steps: steps + 1 })
    : [...listed.map((t) => interpolate(levels, t)), last];
  const first = keys.sigma_max ?? (plain[0] as number);
  const end = keys.sigma_min ?? (plain[logarithmic ? steps : steps - 1] as number);
  const even = evenSigmas(task, { highest: first, lowest: end, steps });
  const sigmas = even ? [...even, last] : plain;
  const max = sigmas[0] as number;
  return {
    prediction: keys.prediction_type,
    timesteps: even ? even.map((sigma) => timestepOfSigma(levels, sigma)) : listed,
    sigmas,
    initialScale: spacing === 'leading' ? Math.sqrt(max * max + 1) : max,
    // Churn is spread over one level more where diffusers has one.
    churn: { ...options, sChurn: options.sChurn * (logarithmic && !even ? steps / (steps + 1) : 1) },
  };
}

const spreads = {
  use_karras_sigmas: karrasSigmas,
  use_lu_lambdas: exponentialSigmas,
  use_exponential_sigmas: exponentialSigmas,
  use_beta_sigmas: betaSigmas,
};

/** Noise levels spread by a rule of their own where the configuration asks for one, else null. */
function evenSigmas({ owner, keys, options }: DiffusersTask, range: SigmaRange): number[] | null {
  const wanted = (Object.keys(spreads) as (keyof typeof spreads)[]).filter((key) => keys[key]);
  const first = wanted[0];
  if (!first) return null;
  const [one, other] = wanted.filter((key) => key !== 'use_lu_lambdas');
  if (other) throw new OptionError(`${owner}: only one of the keys '${one}' and '${other}' may be true`);
  if (options.timesteps) throw new OptionError(`${owner}: option 'timesteps' does not go with key '${first}' = true`);
  return spreads[first](range);
}
