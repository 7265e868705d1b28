/** The operations in float64, written plainly from their definitions. Images are NHWC. */

export * from './referenceConv2d.js';

type Values = ArrayLike<number>;

const get = (values: Values, i: number): number => values[i] as number;

/** [x, z] along the last axis, of c1 and c2 channels. */
export function concat(x: Values, c1: number, z: Values, c2: number): Float64Array {
  const rows = x.length / c1;
  const y = new Float64Array(rows * (c1 + c2));
  for (let row = 0; row < rows; row++) {
    for (let c = 0; c < c1; c++) y[row * (c1 + c2) + c] = get(x, row * c1 + c);
    for (let c = 0; c < c2; c++) y[row * (c1 + c2) + c1 + c] = get(z, row * c2 + c);
  }
  return y;
}

export function upsample(x: Values, [n, h, w, c]: readonly [number, number, number, number]): Float64Array {
  const y = new Float64Array(4 * n * h * w * c);
  for (let i = 0; i < y.length; i++) {
    const channel = i % c;
    const column = Math.floor(i / c) % (2 * w);
    const row = Math.floor(i / c / (2 * w)); // of all images
    y[i] = get(x, (Math.floor(row / 2) * w + Math.floor(column / 2)) * c + channel); // 2h is even: rows do not mix images
  }
  return y;
}

/** y[m, k] = bias[k] + Σ_c x[m, c] · weight[c, k] */
export function linear(x: Values, c: number, weight: Values, k: number, bias?: Values): Float64Array {
  const rows = x.length / c;
  const y = new Float64Array(rows * k);
  for (let row = 0; row < rows; row++)
    for (let o = 0; o < k; o++) {
      let sum = bias ? get(bias, o) : 0;
      for (let i = 0; i < c; i++) sum += get(x, row * c + i) * get(weight, i * k + o);
      y[row * k + o] = sum;
    }
  return y;
}

export const silu = (x: number): number => x / (1 + Math.exp(-x));

export interface GroupNormReference {
  x: Values;
  n: number;
  c: number;
  groups: number;
  gamma: Values;
  beta: Values;
  eps: number;
  /** [N, 2C] */
  scaleShift?: Values;
  silu?: boolean;
  /** What each element is multiplied by at the end. */
  mask?: Values;
}

export function groupNorm({ x, n, c, groups, gamma, beta, eps, scaleShift, ...after }: GroupNormReference): Float64Array {
  const pixels = x.length / (n * c);
  const width = c / groups;
  const y = new Float64Array(x.length);
  for (let sample = 0; sample < n; sample++)
    for (let group = 0; group < groups; group++) {
      const places: number[] = [];
      for (let p = 0; p < pixels; p++) for (let i = 0; i < width; i++) places.push((sample * pixels + p) * c + group * width + i);
      const mean = places.reduce((sum, at) => sum + get(x, at), 0) / places.length;
      const variance = places.reduce((sum, at) => sum + (get(x, at) - mean) ** 2, 0) / places.length;
      for (const at of places) {
        const channel = at % c;
        let z = ((get(x, at) - mean) / Math.sqrt(variance + eps)) * get(gamma, channel) + get(beta, channel);
        if (scaleShift) z = z * (1 + get(scaleShift, sample * 2 * c + channel)) + get(scaleShift, sample * 2 * c + c + channel);
        if (after.silu) z = silu(z);
        y[at] = after.mask ? z * get(after.mask, at) : z;
      }
    }
  return y;
}

export interface AttentionReference {
  q: Values;
  k: Values;
  v: Values;
  n: number;
  l: number;
  heads: number;
  scale: number;
}

/** Gradients of Σ dy·y; dy = 0 when left out. */
export function attentionBackward({ q, k, v, n, l, heads, scale }: AttentionReference, dy?: Values) {
  const c = q.length / (n * l);
  const d = c / heads;
  const [y, dq, dk, dv] = [0, 1, 2, 3].map(() => new Float64Array(q.length)) as [
    Float64Array,
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  const dot = (a: Values, i: number, b: Values, j: number): number => {
    let sum = 0;
    for (let e = 0; e < d; e++) sum += get(a, i + e) * get(b, j + e);
    return sum;
  };
  const addTo = (to: Float64Array, i: number, factor: number, from: Values, j: number): void => {
    for (let e = 0; e < d; e++) to[i + e] = (to[i + e] as number) + factor * get(from, j + e);
  };
  for (let sample = 0; sample < n; sample++)
    for (let head = 0; head < heads; head++) {
      const places = Array.from({ length: l }, (_, token) => (sample * l + token) * c + head * d);
      for (const i of places) {
        const scores = places.map((j) => scale * dot(q, i, k, j));
        const largest = Math.max(...scores);
        const weights = scores.map((score) => Math.exp(score - largest));
        const total = weights.reduce((a, b) => a + b, 0);
        const p = weights.map((weight) => weight / total);
        for (const [at, j] of places.entries()) addTo(y, i, get(p, at), v, j);
        if (!dy) continue;
        const dp = places.map((j) => dot(dy, i, v, j));
        const mean = dp.reduce((sum, value, at) => sum + value * get(p, at), 0);
        for (const [at, j] of places.entries()) {
          const ds = scale * get(p, at) * (get(dp, at) - mean);
          addTo(dv, j, get(p, at), dy, i);
          addTo(dq, i, ds, k, j);
          addTo(dk, j, ds, q, i);
        }
      }
    }
  return { y, dq, dk, dv };
}

export function attention(args: AttentionReference): Float64Array {
  return attentionBackward(args).y;
}
