// What is drawn and measured for the figures.
import type { UNet } from 'diffusion-native';
import type { Curve, MeasuredPoint } from './claims.js';
import type { QualityMeasure } from './quality.js';
import { type Drawing, drawn } from './sampling.js';
import { nameOf, type Objective, trainedModel, type Workshop } from './train.js';

export const linear: Objective = { schedule: 'linear', learned: false };
export const cosine: Objective = { schedule: 'cosine', learned: false };
export const hybrid: Objective = { schedule: 'cosine', learned: true };

/** Trains, draws and measures, what is needed of it. */
export class Experiments {
  readonly #models = new Map<string, Promise<UNet>>();

  constructor(
    readonly workshop: Workshop,
    readonly measure: QualityMeasure,
  ) {}

  model(objective: Objective): Promise<UNet> {
    const name = nameOf(objective);
    const model = this.#models.get(name) ?? trainedModel(this.workshop, objective);
    this.#models.set(name, model);
    return model;
  }

  /** u8 images; the first ones of those that are measured. */
  images(drawing: Drawing, count = this.measure.count): Promise<Uint8Array> {
    return drawn(this.workshop, drawing, count, () => this.model(drawing.objective));
  }

  /** Without the first part of the reverse process: from a smaller t, where there should still be signal in x, but is noise only. */
  async skipping(): Promise<Curve[]> {
    const { skipped: shares, skippedOf: steps } = this.workshop.settings;
    const curve = async (name: string, objective: Objective) => ({
      name,
      points: await this.#points(shares, (skipped) => ({ objective, variance: 'fixedSmall', steps, skipped })),
    });
    return [await curve('linear', linear), await curve('cosine', cosine)];
  }

  /** With fewer and fewer steps of the same training. */
  async fewerSteps(): Promise<Curve[]> {
    const { steps: counts } = this.workshop.settings;
    const curve = async (name: string, { objective, variance }: Omit<Drawing, 'steps'>) => ({
      name,
      points: await this.#points(counts, (steps) => ({ objective, variance, steps })),
    });
    return [
      await curve('learned variance', { objective: hybrid, variance: 'learnedRange' }),
      await curve('fixed variance β̃', { objective: cosine, variance: 'fixedSmall' }),
      await curve('fixed variance β', { objective: cosine, variance: 'fixedLarge' }),
    ];
  }

  async #points(places: readonly number[], drawing: (x: number) => Drawing): Promise<MeasuredPoint[]> {
    const points: MeasuredPoint[] = [];
    for (const x of places) points.push({ x, quality: await this.measure.of(await this.images(drawing(x))) });
    return points;
  }
}
