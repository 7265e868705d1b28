import { join } from 'node:path';
import { Sampler } from '../sampling/sampler.js';
import type { Trainer } from '../training/trainer.js';

/** Folder of the pictures within the run's folder. */
export const previewFolder = 'previews';

/** Longer side in pixels that a sample is enlarged to by whole factors, so that small ones can be seen. */
const comfortable = 128;

/** The samples of `recordRun`. */
export interface PreviewOptions {
  /** Steps of training between two pictures. Default 1000. */
  every?: number;
  /** How many samples a picture shows. Default 16. */
  count?: number;
  /** Model evaluations of DDIM (η = 0) a sample. Default 50, or all that the schedule has. */
  steps?: number;
  /** Samples of one seed can be compared over time. Default 0. */
  seed?: number;
  /** One class a sample, for models with classes. Default: all classes in turn. */
  labels?: readonly number[];
}

/**
 * Sample grids of a run: `previews/step-<n>.png`, by the averaged weights after n steps. The sampler draws the same initial noise
 * each time and nothing else, so that a place in the grid shows what became of one picture.
 */
export class Preview {
  readonly #trainer: Trainer;
  readonly #folder: string;
  readonly #options: Required<Omit<PreviewOptions, 'every' | 'labels'>> & { labels?: number[] };
  #sampler: Sampler | null = null;

  constructor(trainer: Trainer, directory: string, { count = 16, steps = 50, seed = 0, labels }: PreviewOptions) {
    const { numClasses } = trainer.model;
    const classes = numClasses > 0 ? Array.from({ length: count }, (_, k) => k % numClasses) : undefined;
    this.#trainer = trainer;
    this.#folder = join(directory, previewFolder);
    this.#options = {
      count,
      seed,
      steps: Math.min(steps, trainer.diffusion.schedule.length),
      labels: labels ? [...labels] : classes,
    };
  }

  /**
   * Samples from the averaged weights as they are now; steps of training wait on the device meanwhile.
   * @returns the file's path
   * @throws FileFormatError, NonFiniteError, OutOfMemoryError; the signal's reason between two evaluations.
   */
  async draw(signal?: AbortSignal): Promise<string> {
    const { model, diffusion, ema, step, imageShape } = this.#trainer;
    const { count, steps, seed, labels } = this.#options;
    const { device } = model;
    this.#sampler ??= device.unscoped(() => new Sampler(diffusion, ema, { method: 'ddim', steps, shape: imageShape }));
    using images = await this.#sampler.sample({ count, seed, labels, signal });
    const path = join(this.#folder, `step-${String(step).padStart(8, '0')}.png`);
    const [, height, width] = images.shape as [number, number, number];
    await images.savePng(path, { scale: Math.max(1, Math.floor(comfortable / Math.max(height, width))) });
    return path;
  }

  /** Frees what sampling needs; the trainer stays. */
  dispose(): void {
    this.#sampler?.dispose();
  }
}
