// What the sides of a case of a whole network do, and how they agree on it.
import type { Network } from '../networks.js';

/** 'forward': a prediction. 'step': noising, prediction, loss, gradients, clipping, AdamW, average. Else a whole sampling. */
export type Job = 'forward' | 'step' | Sampling;
/** 'ddim-50': method and evaluations. */
export type Sampling = `${'ddim' | 'ddpm' | 'dpmSolver++'}-${number}`;

/** Length of the schedule, which is that of Ho et al. 2020: β from 1e-4 to 0.02. */
export const steps = 1000;

/** Method and evaluations of a sampling; null for the other jobs. */
export function samplingOf(job: Job) {
  const [, method, evaluations] = /^(.+)-(\d+)$/.exec(job) ?? [];
  return method === undefined ? null : { method: method as 'ddim' | 'ddpm' | 'dpmSolver++', evaluations: Number(evaluations) };
}

/** The steps of the schedule that DDIM and DDPM evaluate, from high noise to low. */
export function timesteps(evaluations: number): number[] {
  return Array.from({ length: evaluations }, (_, i) => Math.round(steps - (i * steps) / evaluations) - 1);
}

/** [height, width, channels] of the images. */
export function imageShape({ unet: { imageSize = 32, inChannels = 3 } }: Network): [number, number, number] {
  const [height, width] = typeof imageSize === 'number' ? [imageSize, imageSize] : imageSize;
  return [height, width, inChannels];
}
