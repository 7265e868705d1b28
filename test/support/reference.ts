/** The operations in float64, written plainly from their definitions. Images are NHWC, filters [R, S, C, K]. */

type Values = ArrayLike<number>;

const get = (values: Values, i: number): number => values[i] as number;

export interface ConvolutionReference {
  x: Values;
  /** [N, H, W, C] */
  shape: readonly [number, number, number, number];
  weight: Values;
  /** [R, S, C, K] */
  weightShape: readonly [number, number, number, number];
  bias?: Values;
  shift?: Values;
  residual?: Values;
  stride?: number;
  padding?: readonly [top: number, left: number, bottom: number, right: number];
}

export function conv2d(args: ConvolutionReference): Float64Array {
  const [n, h, w, c] = args.shape;
  const [r, s, , k] = args.weightShape;
  const { stride = 1, padding = [0, 0, 0, 0] } = args;
  const [top, left, bottom, right] = padding;
  const oh = Math.floor((h + top + bottom - r) / stride) + 1;
  const ow = Math.floor((w + left + right - s) / stride) + 1;
  const y = new Float64Array(n * oh * ow * k);
  for (let image = 0; image < n; image++)
    for (let i = 0; i < oh; i++)
      for (let j = 0; j < ow; j++) {
        const at = ((image * oh + i) * ow + j) * k;
        for (let o = 0; o < k; o++)
          y[at + o] =
            (args.bias ? get(args.bias, o) : 0) +
            (args.shift ? get(args.shift, image * k + o) : 0) +
            (args.residual ? get(args.residual, at + o) : 0);
        for (let a = 0; a < r; a++)
          for (let b = 0; b < s; b++) {
            const row = i * stride + a - top;
            const column = j * stride + b - left;
            if (row < 0 || row >= h || column < 0 || column >= w) continue;
            for (let channel = 0; channel < c; channel++) {
              const value = get(args.x, ((image * h + row) * w + column) * c + channel);
              const filter = ((a * s + b) * c + channel) * k;
              for (let o = 0; o < k; o++) y[at + o] = (y[at + o] as number) + value * get(args.weight, filter + o);
            }
          }
      }
  return y;
}

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

export function attention({ q, k, v, n, l, heads, scale }: AttentionReference): Float64Array {
  const c = q.length / (n * l);
  const d = c / heads;
  const y = new Float64Array(q.length);
  for (let sample = 0; sample < n; sample++)
    for (let head = 0; head < heads; head++) {
      const place = (token: number) => (sample * l + token) * c + head * d;
      for (let i = 0; i < l; i++) {
        const scores = new Float64Array(l);
        for (let j = 0; j < l; j++)
          for (let e = 0; e < d; e++) scores[j] = (scores[j] as number) + scale * get(q, place(i) + e) * get(k, place(j) + e);
        const largest = Math.max(...scores);
        const weights = scores.map((score) => Math.exp(score - largest));
        const sum = weights.reduce((a, b) => a + b, 0);
        for (let j = 0; j < l; j++)
          for (let e = 0; e < d; e++)
            y[place(i) + e] = (y[place(i) + e] as number) + (get(weights, j) / sum) * get(v, place(j) + e);
      }
    }
  return y;
}
