// What is asked of the numbers of the figures.
import { difference, type Estimate } from './jackknife.js';
import type { Quality } from './quality.js';

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
const testOfLittle = (before: string) =>
  `it is at most two standard errors, or at most ${100 * little} % of the distance with ${before}`;

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
      `What leaving them out adds to the distance: for linear, ${testOfLittle('all of them')}; ` +
      'for cosine, it is above two standard errors and above that of linear',
    numbers: { linear: ofLinear.number, cosine: ofCosine.number },
    holds: ofLinear.isLittle && ofCosine.isSure && ofCosine.worse.value > ofLinear.worse.value,
  };
}

/** Few steps with a learned variance (section 4 of the article). */
export function claimOfFewSteps([learned]: Curve[], few: number, all: number): Claim {
  const { number, isLittle } = change(learned as Curve, all, few);
  return {
    claim: `With a learned variance ${few} steps lose little against ${all}`,
    test: `What ${few} instead of ${all} steps add to the distance: ${testOfLittle(`${all} steps`)}`,
    numbers: { learned: number },
    holds: isLittle,
  };
}

/** Few steps with a learned variance beside a fixed one. */
export function claimOfFixedVariances([learned, ...fixed]: Curve[], few: number, all: number): Claim {
  const own = change(learned as Curve, all, few);
  const more = fixed.map((curve) => {
    const { worse, number } = change(curve, all, few);
    return { name: curve.name, number, excess: difference(worse, own.worse) };
  });
  return {
    claim: `With a fixed variance ${few} steps lose more than with a learned one`,
    test: `What ${few} instead of ${all} steps add to the distance is greater than for the learned variance, by more than two standard errors`,
    numbers: { learned: own.number, ...Object.fromEntries(more.map(({ name, number }) => [name, number])) },
    holds: more.every(({ excess }) => excess.value > 2 * excess.error),
  };
}
