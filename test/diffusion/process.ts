import { beforeAll } from 'vitest';
import type { Device } from '../../lib/device.js';
import type { GaussianDiffusionOptions } from '../../lib/diffusion/gaussianOptions.js';
import { NoiseSchedule } from '../../lib/diffusion/schedule.js';
import type { Tensor } from '../../lib/tensor.js';
import { maxRelative, relL2 } from '../support/compare.js';
import { conform, type ReferenceCase } from '../support/conformance.js';
import { eachDevice } from '../support/devices.js';
import { type GoldenTensor, loadGolden } from '../support/golden.js';

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

/** The options of a case. */
export function optionsOf(example: ProcessCase): GaussianDiffusionOptions {
  return {
    prediction: ({ eps: 'epsilon', x0: 'sample', prev: 'previous' } as const)[example.mean],
    variance: (
      { fixed_small: 'fixedSmall', fixed_large: 'fixedLarge', learned: 'learned', learned_range: 'learnedRange' } as const
    )[example.var] as GaussianDiffusionOptions['variance'],
    clipDenoised: example.clip ?? true,
    rescaleTimesteps: example.rescale_timesteps,
  };
}

export function upload(device: Device, golden: GoldenTensor): Tensor {
  return device.tensor(golden.values, golden.shape, { layout: 'nchw' });
}

/** Values NCHW, or as they are when there is one a sample. */
export async function values(tensor: Tensor): Promise<Float32Array> {
  return (await tensor.read(tensor.shape.length === 4 ? { layout: 'nchw' } : {})) as Float32Array;
}

/** How far a value is from its reference, and how far it may be. */
export interface Deviation {
  error: number;
  tolerance: number;
}

/**
 * The deviation |got - ref| that is the largest share of relative·max|ref| + absolute, where the maximum is that of the sample; NaN
 * when a value is not a number. One value a sample stands for all of its elements.
 */
export function deviation(
  got: Float32Array,
  { shape, values: reference }: GoldenTensor,
  relative: number,
  absolute = 0,
): Deviation {
  const batch = shape[0] as number;
  const size = reference.length / batch;
  if (got.length !== reference.length && got.length !== batch) return { error: Number.NaN, tolerance: 0 };
  let worst = { error: 0, tolerance: relative };
  for (let n = 0; n < batch; n++) {
    const sample = reference.subarray(n * size, (n + 1) * size);
    const tolerance = relative * sample.reduce((most, value) => Math.max(most, Math.abs(value)), 0) + absolute;
    for (const [i, value] of sample.entries()) {
      const error = Math.abs((got[got.length === batch ? n : n * size + i] as number) - value);
      if (!(error * worst.tolerance <= worst.error * tolerance)) worst = { error, tolerance };
      if (Number.isNaN(error)) return worst;
    }
  }
  return worst;
}

/** The deviation as a share of what is allowed; at most 1 when all are close. */
export function misfit(got: Float32Array, reference: GoldenTensor, relative: number, absolute = 0): number {
  const { error, tolerance } = deviation(got, reference, relative, absolute);
  return error === 0 ? 0 : error / tolerance;
}

/** Compares tensors of a case with the reference, each by the deviation of its worst sample. */
export function comparison(reference: ReferenceCase, golden: (name: string) => GoldenTensor) {
  return async (got: Tensor | Float32Array, name: string, relative = 1e-5, absolute = 0): Promise<void> => {
    const { error, tolerance } = deviation(
      got instanceof Float32Array ? got : await values(got),
      golden(name),
      relative,
      absolute,
    );
    conform(reference, `${name}, max abs of a sample`, error, tolerance);
  };
}

/** The gradient of a model's output, by samples. */
export function conformGradient(
  reference: ReferenceCase,
  got: Float32Array,
  expected: Float32Array,
  batch: number,
  tolerance: number,
) {
  const size = expected.length / batch;
  for (let n = 0; n < batch; n++) {
    const sample = [n * size, (n + 1) * size] as const;
    conform(
      reference,
      'grad_model_output, rel L2 of a sample',
      relL2(got.subarray(...sample), expected.subarray(...sample)),
      tolerance,
    );
  }
}

/** The numbers of a schedule of the reference data. */
export interface ScheduleNumbers {
  betas: number[];
  alphas_cumprod: number[];
  posterior_variance: number[];
  posterior_log_variance_clipped: number[];
  posterior_mean_coef1: number[];
  posterior_mean_coef2: number[];
}

/** Compares a schedule, at these steps, with the reference; the tolerance is relative. */
export function conformSchedule(
  reference: ReferenceCase,
  schedule: NoiseSchedule,
  expected: ScheduleNumbers,
  tolerance: number,
  steps: readonly number[] = Array.from(schedule.betas.keys()),
): void {
  const numbers: Record<string, [ours: Float64Array, theirs: number[]]> = {
    alphasCumprod: [schedule.alphasCumprod, expected.alphas_cumprod],
    betas: [schedule.betas, expected.betas],
    posteriorVariance: [schedule.posteriorVariance, expected.posterior_variance],
    'log variance': [schedule.posteriorLogVarianceClipped, expected.posterior_log_variance_clipped],
    posteriorMeanCoef1: [schedule.posteriorMeanCoef1, expected.posterior_mean_coef1],
    posteriorMeanCoef2: [schedule.posteriorMeanCoef2, expected.posterior_mean_coef2],
  };
  for (const [name, [ours, theirs]] of Object.entries(numbers)) {
    const picked = steps.map((t) => ours[t] as number);
    conform(reference, `${name}, max relative`, maxRelative(picked, theirs), tolerance);
  }
}

/** A file of reference data beside a device that is compared with it; both are there as soon as tests run. */
export class References {
  device!: Device;
  #tensors!: Map<string, GoldenTensor>;

  constructor(
    readonly file: string,
    readonly id: string,
    open: () => Promise<Device>,
  ) {
    beforeAll(async () => {
      this.device = await open();
      this.#tensors = await loadGolden(`${file}.safetensors`);
    });
  }

  at(key: string): GoldenTensor {
    return this.#tensors.get(key) as GoldenTensor;
  }

  upload(key: string): Tensor {
    return upload(this.device, this.at(key));
  }

  /** The tensors of a case, on the host and on the device, and how results are compared with them. */
  of(example: { id: string }) {
    const reference = (name: string) => this.at(`${example.id}/${name}`);
    const input = (name: string) => upload(this.device, reference(name));
    return { reference, input, close: this.comparing(example.id, reference) };
  }

  /** Compares with the tensors that `golden` gives, under the name of a case. */
  comparing(caseId: string, golden: (name: string) => GoldenTensor) {
    return comparison({ file: this.file, id: caseId, device: this.id }, golden);
  }
}

/** Defines tests against a file of reference data for every device that there is. */
export function eachReference(file: string, define: (on: References) => void): void {
  eachDevice((id, open) => define(new References(file, id, open)));
}
