/** How the learning rate falls after the warm-up. */
export type LearningRateSchedule = 'constant' | 'linear' | 'cosine';

/** What the learning rate of a step depends on. */
export interface LearningRateOptions {
  learningRate: number;
  warmupSteps: number;
  learningRateSchedule: LearningRateSchedule;
  /** Step at which 'linear' and 'cosine' reach 0. */
  totalSteps: number;
}

/**
 * The learning rate of the update after `step` others. During the warm-up it rises in a line, (step + 1)/warmupSteps of
 * `learningRate`; from there to `totalSteps` it stays ('constant'), falls in a line ('linear') or along half a cosine ('cosine';
 * Loshchilov & Hutter 2017, arXiv 1608.03983, eq. 5, without restarts), and is 0 afterwards.
 */
export function learningRateAt(step: number, options: LearningRateOptions): number {
  const { learningRate, warmupSteps, learningRateSchedule, totalSteps } = options;
  if (step < warmupSteps) return (learningRate * (step + 1)) / warmupSteps;
  if (learningRateSchedule === 'constant') return learningRate;
  const progress = totalSteps > warmupSteps ? Math.min(1, (step - warmupSteps) / (totalSteps - warmupSteps)) : 1;
  return learningRate * (learningRateSchedule === 'linear' ? 1 - progress : (1 + Math.cos(Math.PI * progress)) / 2);
}
