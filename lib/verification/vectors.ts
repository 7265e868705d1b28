import { join } from 'node:path';
import type { Device } from '../device.js';
import { FileFormatError } from '../errors.js';
import { readJson } from '../files/json.js';
import { readSafetensors } from '../files/safetensors.js';
import type { Tensor } from '../tensor.js';

/** Parameters of the model of the reference data: f(x, t) = g(t)·x + h(t), g = a + b·t/(t + c), h = d·cos(w·t). */
export interface LinearModel {
  a: number;
  b: number;
  c: number;
  d: number;
  w: number;
}

/** A process as the reference describes it: the schedule, its respacing, and the steps of the examples. */
export interface ProcessContext {
  id: string;
  schedule: 'linear' | 'cosine';
  T: number;
  sections: string | null;
  rescale_timesteps: boolean;
  t: number[];
  mean?: 'eps' | 'x0';
  var?: 'fixed_small' | 'fixed_large' | 'learned' | 'learned_range';
  /** Error of the reference itself, by tensor. */
  noise?: Record<string, number>;
}

/** vectors.json, as scripts/reference-vectors.mjs writes it. */
export interface Description {
  sources: Record<string, string>;
  schedules: ({ id: 'linear' | 'cosine'; entries: number[] } & Record<string, number[]>)[];
  respacings: { T: number; sections: string | number[]; timesteps: number[] }[];
  process: (ProcessContext & { kind: string; clip?: boolean; etas?: number[] })[];
  losses: (ProcessContext & { loss?: 'mse' | 'rescaled_mse' | 'kl' | 'rescaled_kl'; ill_conditioned_examples?: number[] })[];
  samplers: {
    id: string;
    config: Record<string, unknown>;
    num_inference_steps: number;
    step_kwargs: Record<string, number | boolean>;
    model: LinearModel;
    noise_per_step: number[];
  }[];
  networks: {
    id: string;
    seed: number;
    labels: number[] | null;
    loss: number;
    config: Record<string, unknown>;
    parameters: { name: string; gradient: number }[];
    zero_gradient_tensors: string[];
  }[];
  optimizer: {
    steps: number;
    lr: number;
    wd: number;
    betas: [number, number];
    eps: number;
    ema: number;
    clip: number;
    seed: number;
    losses: number[];
    grad_norm_before_clip: number[];
    config: Record<string, unknown>;
  };
}

/** A stored tensor, row-major; images are NCHW. */
export interface Stored {
  shape: readonly number[];
  values: Float32Array | Int32Array;
}

/** The reference numbers that come with the package, or of another folder made by the same script. */
export class Vectors {
  private constructor(
    readonly description: Description,
    readonly folder: string,
    private readonly tensors: ReadonlyMap<string, Stored>,
  ) {}

  /** Throws FileFormatError naming the file that is missing or damaged. */
  static async load(folder = join(__dirname, '..', '..', 'vectors')): Promise<Vectors> {
    const description = (await readJson(join(folder, 'vectors.json'))) as unknown as Description;
    const stored = new Map<string, Stored>();
    for (const [name, tensor] of (await readSafetensors(join(folder, 'vectors.safetensors'))).tensors)
      stored.set(name, { shape: tensor.shape, values: (await tensor.data()) as Stored['values'] });
    return new Vectors(description, folder, stored);
  }

  get(name: string): Stored {
    const found = this.tensors.get(name);
    if (!found) throw new FileFormatError(`'${this.folder}' has no tensor '${name}'`);
    return found;
  }

  /** As a tensor on a device, images as NHWC. */
  upload(device: Device, name: string): Tensor {
    return uploadStored(device, this.get(name));
  }
}

export function uploadStored(device: Device, { values, shape }: Stored): Tensor {
  return shape.length === 4 ? device.tensor(values, shape, { layout: 'nchw' }) : device.tensor(values, shape);
}

/** The k-th of tensors stacked on axis 0. */
export function entry({ shape, values }: Stored, k: number): Stored {
  const size = values.length / (shape[0] as number);
  return { shape: shape.slice(1), values: values.slice(k * size, (k + 1) * size) as Stored['values'] };
}
