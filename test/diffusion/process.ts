import type { Device } from '../../lib/device.js';
import type { GaussianDiffusionOptions } from '../../lib/diffusion/gaussianOptions.js';
import { NoiseSchedule } from '../../lib/diffusion/schedule.js';
import type { Tensor } from '../../lib/tensor.js';
import type { GoldenTensor } from '../support/golden.js';

/** A case of the reference data of improved-diffusion. */
export interface ProcessCase {
  id: string;
  kind: string;
  context: string;
  schedule: 'linear' | 'cosine';
  T: number;
  sections: string | number | null;
  rescale_timesteps: boolean;
  t: number[];
  model_t: number[];
  mean: 'eps' | 'x0' | 'prev';
  var: 'fixed_small' | 'fixed_large' | 'learned' | 'learned_range';
  clip: boolean;
  etas: number[];
  loss: string;
  /** max |float32 run - float64 run| of the reference, by tensor. */
  noise: Record<string, number>;
  tensors: string[];
}

/** The schedule of a case; improved-diffusion scales linear betas by 1000/T. */
export function scheduleOf({ schedule, T: timesteps, sections }: ProcessCase): NoiseSchedule {
  const full = schedule === 'linear' ? NoiseSchedule.linear({ timesteps, rescaled: true }) : NoiseSchedule.cosine({ timesteps });
  return sections === null ? full : full.respace(typeof sections === 'number' ? [sections] : sections);
}

/** The options of a case whose variance is fixed. */
export function optionsOf(example: ProcessCase): GaussianDiffusionOptions {
  return {
    prediction: example.mean === 'x0' ? 'sample' : 'epsilon',
    variance: example.var === 'fixed_large' ? 'fixedLarge' : 'fixedSmall',
    clipDenoised: example.clip ?? true,
    rescaleTimesteps: example.rescale_timesteps,
  };
}

/** Whether the case is of a process with a fixed variance that predicts ε or x_0. */
export function isFixed(example: ProcessCase): boolean {
  return example.mean !== 'prev' && example.var.startsWith('fixed');
}

export function upload(device: Device, golden: GoldenTensor): Tensor {
  return device.tensor(golden.values, golden.shape, { layout: 'nchw' });
}

/** Values NCHW, or as they are when there is one a sample. */
export async function values(tensor: Tensor): Promise<Float32Array> {
  return (await tensor.read(tensor.shape.length === 4 ? { layout: 'nchw' } : {})) as Float32Array;
}

/**
 * The largest |got - ref| / (relative·max|ref| + absolute) where the maximum is that of the sample; at most 1 when all are close,
 * NaN when a value is not a number. One value a sample stands for all of its elements.
 */
export function misfit(got: Float32Array, { shape, values: reference }: GoldenTensor, relative: number, absolute = 0): number {
  const batch = shape[0] as number;
  const size = reference.length / batch;
  if (got.length !== reference.length && got.length !== batch) return Number.NaN;
  let worst = 0;
  for (let n = 0; n < batch; n++) {
    const sample = reference.subarray(n * size, (n + 1) * size);
    const limit = relative * sample.reduce((most, value) => Math.max(most, Math.abs(value)), 0) + absolute;
    for (const [i, value] of sample.entries()) {
      const error = Math.abs((got[got.length === batch ? n : n * size + i] as number) - value);
      if (error !== 0) worst = Math.max(worst, error / limit);
    }
  }
  return worst;
}
