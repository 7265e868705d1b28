import type { Device } from '../../lib/device.js';
import type { FromDiffusersOptions } from '../../lib/sampling/diffusers/options.js';
import { Sampler } from '../../lib/sampling/sampler.js';
import type { Tensor } from '../../lib/tensor.js';
import { type GoldenTensor, loadGolden, loadGoldenJson } from '../support/golden.js';
import { fullestPath } from '../support/shared.js';
import { type TinyModelParameters, tinyModel } from '../support/tinyModel.js';

/** A run of a scheduler of diffusers. */
export interface SchedulerCase {
  id: string;
  cls: string;
  config: Record<string, unknown> | string;
  num_inference_steps: number | null;
  set_timesteps_kwargs: { timesteps: number[] } | null;
  step_kwargs: {
    eta?: number;
    use_clipped_model_output?: boolean;
    s_churn?: number;
    s_tmin?: number;
    s_tmax?: number;
    s_noise?: number;
  };
  model: TinyModelParameters;
  init_noise_sigma: number;
  timesteps: number[];
  sigmas?: number[];
  noise_per_step: number[];
  status?: string;
  kind?: string;
}

/** Its tensors: what it started from, and what each step gave. */
export type CaseTensors = (name: string) => GoldenTensor | undefined;

const load = (version: string) =>
  loadGoldenJson<{ cases: SchedulerCase[] }>(fullestPath(`schedulers/diffusers_${version}.json`)).cases;
const old = load('0_20_2');

/** The cases of a version; those of 0.35.2 with what is only stored with 0.20.2. */
export const schedulerCases = {
  '0_20_2': old,
  '0_35_2': load('0_35_2').map((one) => ({ ...old.find(({ id }) => id === one.id), ...withConfig(one) })),
};

function withConfig(one: SchedulerCase): SchedulerCase {
  const config = typeof one.config === 'string' ? old.find(({ id }) => id === one.id)?.config : one.config;
  return { ...one, config: config as Record<string, unknown> };
}

/** Whether a case of 0.35.2 has the numbers of 0.20.2. */
export const sameAsBefore = ({ status = '' }: SchedulerCase) => status.startsWith('same numbers');

const files = new Map<string, Promise<Map<string, GoldenTensor>>>();

/** Reads a case's tensors, from the file that holds them. */
export async function caseTensors(version: keyof typeof schedulerCases, one: SchedulerCase): Promise<CaseTensors> {
  const stored = version === '0_35_2' && sameAsBefore(one) ? '0_20_2' : version;
  const path = fullestPath(`schedulers/diffusers_${stored}.safetensors`);
  if (!files.has(path)) files.set(path, loadGolden(path));
  const golden = (await files.get(path)) as Map<string, GoldenTensor>;
  return (name) => golden.get(`${one.id}/${name}`);
}

/** The k-th entry of a stack of image batches [N, C, H, W]. */
export function entry({ shape, values }: GoldenTensor, k: number): { values: Float32Array; shape: readonly number[] } {
  const [, ...rest] = shape;
  const size = rest.reduce((product, axis) => product * axis, 1);
  return { values: values.subarray(k * size, (k + 1) * size), shape: rest };
}

/** The sampler of a case over the model of the reference data; `seen` collects the t of each call, `inputs` its images, NCHW. */
export function samplerOf(
  device: Device,
  one: SchedulerCase,
  compatibility: FromDiffusersOptions['compatibility'],
  seen: number[][],
  inputs: Float32Array[] = [],
) {
  const { config, set_timesteps_kwargs: custom, step_kwargs: step, num_inference_steps: steps } = one;
  const options: FromDiffusersOptions = {
    compatibility,
    ...(custom ? { timesteps: custom.timesteps } : { steps: steps as number }),
    ...(step.eta !== undefined && { eta: step.eta }),
    ...(step.use_clipped_model_output !== undefined && { useClippedModelOutput: step.use_clipped_model_output }),
    ...(step.s_churn !== undefined && { sChurn: step.s_churn, sTmin: step.s_tmin, sTmax: step.s_tmax, sNoise: step.s_noise }),
  };
  const model = tinyModel(one.model, seen);
  const watched: typeof model = async (xt, t, extra) => {
    inputs.push((await xt.read({ layout: 'nchw' })) as Float32Array);
    return model(xt, t, extra);
  };
  return Sampler.fromDiffusers(config as object, device, watched, options);
}

export const upload = (device: Device, { values, shape }: { values: Float32Array; shape: readonly number[] }): Tensor =>
  device.tensor(values, shape, { layout: 'nchw' });
