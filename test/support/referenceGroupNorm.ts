/** Group normalisation and its gradients in float64, written plainly from their definition. Images are NHWC. */

import type { GroupNormReference } from './reference.js';

type Values = ArrayLike<number>;

const get = (values: Values, i: number): number => values[i] as number;

/** y, (mean, rstd) of every group, and the gradients of Σ dy·y. */
export function groupNormBackward(args: GroupNormReference, dy: Values) {
  const { x, n, c, groups, gamma, beta, eps, scaleShift, silu, mask } = args;
  const [pixels, width] = [x.length / (n * c), c / groups];
  const [y, dx] = [new Float64Array(x.length), new Float64Array(x.length)];
  const [dgamma, dbeta, dscaleShift] = [new Float64Array(c), new Float64Array(c), new Float64Array(2 * n * c)];
  const stats = new Float64Array(n * groups * 2);
  const add = (to: Float64Array, i: number, value: number): void => {
    to[i] = get(to, i) + value;
  };
  for (let group = 0; group < n * groups; group++) {
    const [sample, first] = [Math.floor(group / groups), (group % groups) * width];
    const places = Array.from({ length: pixels * width }, (_, i) => {
      return (sample * pixels + Math.floor(i / width)) * c + first + (i % width);
    });
    const mean = places.reduce((sum, at) => sum + get(x, at), 0) / places.length;
    const rstd = 1 / Math.sqrt(places.reduce((sum, at) => sum + (get(x, at) - mean) ** 2, 0) / places.length + eps);
    stats.set([mean, rstd], 2 * group);
    const normal = places.map((at) => (get(x, at) - mean) * rstd);
    const slopes = places.map((at, i) => {
      const k = at % c;
      const factor = scaleShift ? 1 + get(scaleShift, sample * 2 * c + k) : 1;
      const inner = get(normal, i) * get(gamma, k) + get(beta, k);
      const z = inner * factor + (scaleShift ? get(scaleShift, sample * 2 * c + c + k) : 0);
      const s = silu ? 1 / (1 + Math.exp(-z)) : 1;
      const kept = mask ? get(mask, at) : 1;
      y[at] = z * s * kept;
      const dz = get(dy, at) * kept * (silu ? s * (1 + z * (1 - s)) : 1);
      add(dscaleShift, sample * 2 * c + k, dz * inner);
      add(dscaleShift, sample * 2 * c + c + k, dz);
      add(dgamma, k, dz * factor * get(normal, i));
      add(dbeta, k, dz * factor);
      return dz * factor * get(gamma, k);
    });
    const pull = slopes.reduce((sum, slope) => sum + slope, 0) / places.length;
    const lean = slopes.reduce((sum, slope, i) => sum + slope * get(normal, i), 0) / places.length;
    for (const [i, at] of places.entries()) dx[at] = rstd * (get(slopes, i) - pull - get(normal, i) * lean);
  }
  return { y, stats, dx, dgamma, dbeta, dscaleShift };
}
