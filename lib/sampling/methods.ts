import type { NoiseSchedule } from '../diffusion/schedule.js';
import type { Prediction, Variance } from '../diffusion/tables.js';
import { OptionError } from '../errors.js';
import { interpolate, karrasSigmas, sigmasOf, stepsAbove, timestepOfSigma } from './noiseLevels.js';
import type { CheckedOptions, SamplerMethod } from './options.js';
import { planOf, type SamplerPlan } from './plan.js';
import { ddim } from './solvers/ddim.js';
import { ddpm, type ProcessSteps } from './solvers/ddpm.js';
import { dpmSolver } from './solvers/dpmSolver.js';
import { euler, eulerAncestral } from './solvers/euler.js';
import { heun } from './solvers/heun.js';
import { type LevelPrediction, type Solution, type Start, startFrom } from './solvers/solution.js';
import { dpmTimesteps, processTimesteps, type SpacingRequest, sigmaTimesteps } from './timestepLists.js';

const owner = 'new Sampler';
const usualSteps = 100;

/** The process that is sampled from. */
interface Process {
  schedule: NoiseSchedule;
  prediction: Prediction;
  variance: Variance;
  clipDenoised: boolean;
  dynamicThreshold: { ratio: number; max: number } | undefined;
  rescaleTimesteps: boolean;
}

/** What a method works on: its options, and which steps it is to take. */
interface Task extends Process {
  options: CheckedOptions;
  request: SpacingRequest;
  karras: boolean;
}

/** The evaluations of `new Sampler`. Throws OptionError when the schedule has too few steps. */
export function planSampler(process: Process, options: CheckedOptions): SamplerPlan {
  const { schedule } = process;
  const { method, spacing = defaultSpacing(method) } = options;
  const T = schedule.length;
  const steps =
    options.steps ?? (method === 'ddpm' ? T : Math.max(1, Math.min(usualSteps, method === 'dpmSolver++' ? T - 1 : T)));
  const karras = spacing === 'karras' || options.useKarrasSigmas;
  const request: SpacingRequest = { owner, T, steps, spacing: spacing === 'karras' ? 'linspace' : spacing };
  const ancestral = method === 'ddpm';
  if (karras && (ancestral || method === 'ddim'))
    throw new OptionError(`${owner}: Karras's noise levels go only with methods of σ and λ, got method '${method}'`);
  return planOf(solutions[method]({ ...process, options, request, karras }), {
    owner,
    originalTimestep: (t) => interpolate(schedule.timesteps, t),
    modelTimestep: process.rescaleTimesteps ? (t) => t * (1000 / schedule.originalTimesteps) : (t) => t,
    variance: process.variance,
    ancestral,
    fractions: karras || (method !== 'ddim' && !ancestral && method !== 'dpmSolver++'),
    clip: process.clipDenoised && !process.dynamicThreshold ? 1 : 0,
    threshold: process.dynamicThreshold ?? null,
  });
}

const defaultSpacing = (method: SamplerMethod) => (method === 'ddpm' || method === 'ddim' ? 'article' : 'linspace');

const solutions: Record<SamplerMethod, (task: Task) => Solution> = {
  ddpm(task) {
    const { variance, prediction } = task;
    return ddpm({ ...processSteps(task), variance, quiet: 'last', outright: prediction === 'previous' });
  },

  ddim(task) {
    const steps = processSteps(task);
    const { eta, useClippedModelOutput } = task.options;
    return ddim({ ...steps, targets: [...steps.alphaBars.slice(1), 1], eta, rederived: useClippedModelOutput });
  },

  'dpmSolver++'(task) {
    const { schedule, options, request, karras } = task;
    const prediction = levelPrediction(task);
    const levels = sigmasOf(schedule.alphasCumprod);
    const { lambdaMinClipped, finalSigmasType } = options;
    const end = stepsAbove(levels, lambdaMinClipped);
    if (end === 0) throw new OptionError(`${owner}: option 'lambdaMinClipped' = ${lambdaMinClipped} leaves no step`);
    const { timesteps, sigmas } = karras
      ? karrasLevels(levels.subarray(0, end), request.steps)
      : at(levels, dpmTimesteps(request, end));
    const last = finalSigmasType === 'zero' ? 0 : (levels[0] as number);
    return dpmSolver({ ...options, prediction, timesteps, sigmas: [...sigmas, last] });
  },

  euler(task) {
    const { levels, steps } = sigmaSteps(task);
    return euler(steps, (sigma) => timestepOfSigma(levels, sigma));
  },

  eulerAncestral: (task) => eulerAncestral(sigmaSteps(task).steps),

  heun(task) {
    const { levels, steps } = sigmaSteps(task);
    return heun(steps, (sigma) => timestepOfSigma(levels, sigma));
  },
};

/** Steps and noise levels of the methods of σ; x_T has the standard deviation of its marginal, √(σ² + 1), with 'leading' steps. */
function sigmaSteps(task: Task) {
  const { schedule, options, request, karras } = task;
  const prediction = levelPrediction(task);
  const levels = sigmasOf(schedule.alphasCumprod);
  const listed = at(levels, sigmaTimesteps(request));
  const { timesteps, sigmas } = karras ? karrasLevels(levels, listed.sigmas.length, listed.sigmas) : listed;
  const last = options.finalSigmasType === 'zero' ? 0 : (levels[0] as number);
  const highest = sigmas[0] as number;
  const initialScale = request.spacing === 'leading' ? Math.sqrt(highest * highest + 1) : highest;
  return { levels, steps: { prediction, timesteps, sigmas: [...sigmas, last], initialScale, churn: options } };
}

/** Karras's noise levels over the range of a list that falls (or of a schedule's, which rise), and the steps that have them. */
function karrasLevels(levels: Float64Array, steps: number, listed: readonly number[] = [...levels].reverse()) {
  const sigmas = karrasSigmas({ highest: listed[0] as number, lowest: listed.at(-1) as number, steps });
  return { sigmas, timesteps: sigmas.map((sigma) => timestepOfSigma(levels, sigma)) };
}

function at(levels: Float64Array, timesteps: number[]) {
  return { timesteps, sigmas: timesteps.map((t) => interpolate(levels, t)) };
}

function processSteps({ schedule, prediction, request }: Task): ProcessSteps {
  const timesteps = processTimesteps(request);
  const alphaBars = timesteps.map((t) => schedule.alphasCumprod[t] as number);
  const starts = timesteps.map((t, k): Start => {
    if (prediction !== 'previous') return startFrom(prediction, alphaBars[k] as number);
    const [start, state] = [schedule.posteriorMeanCoef1[t] as number, schedule.posteriorMeanCoef2[t] as number];
    return { px: -state / start, pm: 1 / start };
  });
  return { timesteps, alphaBars, starts };
}

function levelPrediction({ prediction, options }: Task): LevelPrediction {
  if (prediction !== 'previous') return prediction;
  throw new OptionError(
    `${owner}: method '${options.method}' cannot take a process with prediction 'previous'; 'ddpm' and 'ddim' can`,
  );
}
