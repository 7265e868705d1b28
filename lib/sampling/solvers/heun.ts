import { churned, churnOf, inputScale, type SigmaSteps } from './euler.js';
import { type ReverseRow, type Solution, startFromSigma } from './solution.js';

/**
 * Heun's method on dx/dσ = (x - x_0)/σ: a step of Euler's to σ', evaluated again there, and the mean of both slopes; the last step,
 * to σ = 0, is Euler's alone: 2n - 1 evaluations (Karras et al. 2022, arXiv 2206.00364, algorithm 2).
 *
 * With ρ = σ'/σ the first stage is x' = ρ·x + (1-ρ)·x_0. From it the old x is known, so that the second is a combination of x', x_0
 * of both stages: x'' = x' + (1-ρ)/(2ρ)·(x_0' - x_0).
 */
export function heun(steps: SigmaSteps, timestepOf: (sigma: number) => number): Solution {
  const { prediction, sigmas, initialScale } = steps;
  const levels = churned(steps);
  const rows: ReverseRow[] = [];
  const timesteps: number[] = [];
  const inputScales: number[] = [];
  const stages: { factor: number }[] = [];
  levels.forEach(({ hat, factor }, k) => {
    const next = sigmas[k + 1] as number;
    const ratio = next / hat;
    rows.push({ ...startFromSigma(prediction, hat), a: ratio, b: 1 - ratio });
    timesteps.push(factor === 0 ? (steps.timesteps[k] as number) : timestepOf(hat));
    inputScales.push(inputScale(hat));
    stages.push({ factor });
    if (next === 0) return;
    const correction = (1 - ratio) / (2 * ratio);
    rows.push({ ...startFromSigma(prediction, next), a: 1, b: correction, c: -correction });
    timesteps.push(steps.timesteps[k + 1] as number);
    inputScales.push(inputScale(next));
    stages.push({ factor: 0 });
  });
  return { timesteps, rows, sigmas, initialScale, inputScales, history: 1, ...churnOf(stages, timestepOf) };
}
