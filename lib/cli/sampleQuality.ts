import type { ImageDataset } from '../data/dataset.js';
import type { GaussianDiffusion } from '../diffusion/gaussian.js';
import { slicedWasserstein } from '../evaluation/slicedWasserstein.js';
import type { UNet } from '../nn/unet.js';
import { scale } from '../ops/elementwise.js';
import { cast } from '../ops/layout.js';
import { Sampler } from '../sampling/sampler.js';
import type { Tensor } from '../tensor.js';
import { Batches } from '../training/batches.js';
import { drawImages } from './draw.js';
import { Progress } from './progress.js';

/** How far samples are from images; see `slicedWasserstein`. */
export interface SampleQuality {
  measure: 'slicedWasserstein';
  /** In each set. */
  samples: number;
  directions: number;
  method: string;
  /** Model evaluations a sample. */
  steps: number;
  samplesToData: number;
  /** Between two sets of images, what samples could reach; null where there are fewer than two sets. */
  dataToData: number | null;
}

const directions = 256;

interface Inputs {
  model: UNet;
  diffusion: GaussianDiffusion;
  data: ImageDataset;
  /** `samples` in each set, of at most `steps` model evaluations each. */
  given: { samples: number; steps: number; method: 'ddpm' | 'ddim'; seed: number; batchSize: number };
  signal: AbortSignal;
}

/** Compares samples with images of the same classes; null where none are asked for. */
export async function measureSamples({ model, diffusion, data, given, signal }: Inputs): Promise<SampleQuality | null> {
  if (given.samples === 0) return null;
  const { seed, method, batchSize } = given;
  const { device, numClasses } = model;
  const samples = Math.min(given.samples, data.length);
  const steps = Math.min(given.steps, diffusion.schedule.length);
  const batches = new Batches(data, samples, { seed, labelled: numClasses > 0, numClasses });
  const shape = [samples, ...data.shape];
  const images = async (n: number): Promise<{ tensor: Tensor; labels: Int32Array | undefined }> => {
    const batch = await batches.of(n, signal);
    const tensor = device.scope(() => scale(cast(device.tensor(batch.images, shape), 'f32'), 1 / 127.5, -1));
    return { tensor, labels: batch.labels?.slice() };
  };
  try {
    const { tensor: real, labels } = await images(0);
    const other = data.length >= 2 * samples ? (await images(1)).tensor : null;
    const sampler = new Sampler(diffusion, model, { method, steps, shape: data.shape });
    using progress = new Progress('sample', Math.ceil(samples / batchSize) * steps);
    const drawn = await drawImages(sampler, { count: samples, first: 0, seed, batchSize, labels, signal }, (done) =>
      progress.update(done),
    );
    progress.stop();
    const distance = (a: Tensor) => slicedWasserstein(a, real, { projections: directions, seed, signal });
    const samplesToData = await distance(device.tensor(drawn.images, shape));
    const dataToData = other && (await distance(other));
    return { measure: 'slicedWasserstein', samples, directions, method, steps, samplesToData, dataToData };
  } finally {
    await batches.close();
  }
}
