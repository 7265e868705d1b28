// What is drawn and measured for the figures, and what is asked of the numbers.
import type { UNet } from 'diffusion-native';
import { difference, type Estimate } from './jackknife.js';
import type { Quality, QualityMeasure } from './quality.js';
import { type Drawing, drawn } from './sampling.js';
import { nameOf, type Objective, trainedModel, type Workshop } from './train.js';

/** A place of a curve. */
export interface MeasuredPoint {
  x: number;
  quality: Quality;
}

/** Points over the share of steps left out, or over the number of steps. */
export interface Curve {
  name: string;
  points: MeasuredPoint[];
}

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

/** The estimate that a data set's claims go by. */
export const mainMeasure = (quality: Quality): Estimate => quality.frechet ?? quality.sliced;

/** Something that the article says, and whether the numbers say so, too. */
export interface Claim {
  claim: string;
  /** What the numbers must be for it to hold. */
  test: string;
  /** By name: differences with their standard errors. */
  numbers: Record<string, { value: number; error: number; relativeTo: number }>;
  holds: boolean;
}

const little = 0.1;
const testOfLittle = `it is at most two standard errors, or at most ${100 * little} % of the distance without`;

/** How much worse one point of a curve is than another, and whether that is little. */
function change(curve: Curve, from: number, to: number) {
  const at = (x: number): Estimate => {
    const point = curve.points.find((point) => point.x === x);
    if (!point) throw new Error(`the curve '${curve.name}' has no point at ${x}`);
    return mainMeasure(point.quality);
  };
  const [before, after] = [at(from), at(to)];
  const worse = difference(after, before);
  return {
    number: { value: worse.value, error: worse.error, relativeTo: before.value },
    isLittle: worse.value <= Math.max(2 * worse.error, little * before.value),
    isSure: worse.value > 2 * worse.error,
    worse,
  };
}

/** The last fifth of the linear schedule's noise (section 3.2 of the article). */
export function claimOfLastFifth([linear, cosine]: Curve[], share: number): Claim {
  const [ofLinear, ofCosine] = [linear, cosine].map((curve) => change(curve as Curve, 0, share)) as [
    ReturnType<typeof change>,
    ReturnType<typeof change>,
  ];
  return {
    claim: `The linear schedule's last ${100 * share} % of noise add little to the quality of samples; the cosine schedule's do`,
    test:
      `What leaving them out adds to the distance: for linear, ${testOfLittle} (leaving nothing out); ` +
      'for cosine, it is above two standard errors and above that of linear',
    numbers: { linear: ofLinear.number, cosine: ofCosine.number },
    holds: ofLinear.isLittle && ofCosine.isSure && ofCosine.worse.value > ofLinear.worse.value,
  };
}

/** Few steps with a learned variance (section 4 of the article). */
export function claimOfFewSteps(curves: Curve[], few: number, all: number): Claim {
  const changes = curves.map((curve) => [curve.name, change(curve, all, few)] as const);
  const [learned, ...fixed] = changes.map(([, change]) => change) as [ReturnType<typeof change>, ...ReturnType<typeof change>[]];
  return {
    claim: `With a learned variance ${few} steps lose little against ${all}, and less than with a fixed one`,
    test: `What ${few} instead of ${all} steps add to the distance: for the learned variance, ${testOfLittle}, and it is less than for each fixed one`,
    numbers: Object.fromEntries(changes.map(([name, { number }]) => [name, number])),
    holds: learned.isLittle && fixed.every(({ worse }) => worse.value > learned.worse.value),
  };
}
