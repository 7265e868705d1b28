import { type LevelPrediction, type ReverseRow, type Solution, startFromSigma } from './solution.js';

/** Noise added before some steps of an ODE solver (Karras et al. 2022, arXiv 2206.00364, algorithm 2). */
export interface Churn {
  /** S_churn: how much in all, over the steps. */
  sChurn: number;
  /** S_tmin and S_tmax: the noise levels where it is added. */
  sTmin: number;
  sTmax: number;
  /** S_noise: standard deviation of what is added. */
  sNoise: number;
}

/** Noise levels of x = x_0 + σ·ε, the model's input being x/√(σ² + 1). */
export interface SigmaSteps {
  prediction: LevelPrediction;
  /** The step of the schedule at each σ but the last. */
  timesteps: readonly number[];
  /** From high to low; the last is where it ends. */
  sigmas: readonly number[];
  initialScale: number;
  churn: Churn;
}

/** σ after churn at each step, and the factor of the noise that leads there. */
export function churned({ sigmas, churn: { sChurn, sTmin, sTmax, sNoise } }: SigmaSteps): { hat: number; factor: number }[] {
  const gamma = Math.min(sChurn / (sigmas.length - 1), Math.SQRT2 - 1);
  const [lowest, highest] = [Math.fround(sTmin), Math.fround(sTmax)]; // in float32 a level that is meant to be a bound is one
  return sigmas.slice(0, -1).map((sigma) => {
    const within = Math.fround(sigma) >= lowest && Math.fround(sigma) <= highest;
    const hat = within ? sigma * (1 + gamma) : sigma;
    return { hat, factor: sNoise * Math.sqrt(hat * hat - sigma * sigma) };
  });
}

/** The model's input as a factor of x. */
export const inputScale = (sigma: number) => 1 / Math.sqrt(sigma * sigma + 1);

/** σ of each step to the step of the schedule, for models that see x after the churn. */
type TimestepOf = (sigma: number) => number;

/**
 * Euler's method on dx/dσ = (x - x_0)/σ. With `timestepOf` the model sees x after the churn, as Karras et al. say; without it the x
 * before, as in diffusers.
 */
export function euler(steps: SigmaSteps, timestepOf: TimestepOf | null): Solution {
  const { prediction, sigmas, initialScale } = steps;
  const levels = churned(steps);
  const rows = levels.map(({ hat }, k): ReverseRow => {
    const ratio = (sigmas[k + 1] as number) / hat;
    const seen = timestepOf || prediction === 'epsilon' ? hat : (sigmas[k] as number);
    return { ...startFromSigma(prediction, seen), a: ratio, b: 1 - ratio };
  });
  const seen = timestepOf ? levels.map(({ hat }) => hat) : sigmas.slice(0, -1);
  return {
    timesteps: steps.timesteps.map((t, k) => (timestepOf && levels[k]?.factor ? timestepOf(seen[k] as number) : t)),
    rows,
    sigmas,
    initialScale,
    inputScales: seen.map(inputScale),
    ...churnOf(levels, timestepOf),
  };
}

/** The part of a solution that adds noise before steps; none where no step has any. */
export function churnOf(levels: readonly { factor: number }[], timestepOf: TimestepOf | null): Pick<Solution, 'churn'> {
  const factors = levels.map(({ factor }) => factor);
  if (factors.every((factor) => factor === 0)) return {};
  return { churn: { factors, before: timestepOf ? 'model' : 'step' } };
}

/** Euler's method down to σ_down, then noise σ_up, with σ_down² + σ_up² = σ'² (k-diffusion's ancestral sampling at η = 1). */
export function eulerAncestral({ prediction, timesteps, sigmas, initialScale }: Omit<SigmaSteps, 'churn'>): Solution {
  const levels = sigmas.slice(0, -1);
  const rows = levels.map((from, k): ReverseRow => {
    const to = sigmas[k + 1] as number;
    const up = to * Math.sqrt(Math.max(0, 1 - (to * to) / (from * from)));
    const ratio = (to * to) / (from * from); // σ_down/σ, with σ_down = σ'²/σ
    return { ...startFromSigma(prediction, from), a: ratio, b: 1 - ratio, d: up };
  });
  return { timesteps, rows, sigmas, initialScale, inputScales: levels.map(inputScale) };
}
