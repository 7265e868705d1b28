/** Convolution and its gradients in float64, written plainly. Images are NHWC, filters [R, S, C, K]. */

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

/** [N, OH, OW, K] */
export function convolutionShape(args: ConvolutionReference): [number, number, number, number] {
  const [n, h, w] = args.shape;
  const [r, s, , k] = args.weightShape;
  const { stride = 1, padding = [0, 0, 0, 0] } = args;
  const [top, left, bottom, right] = padding;
  return [n, Math.floor((h + top + bottom - r) / stride) + 1, Math.floor((w + left + right - s) / stride) + 1, k];
}

/** Every pixel of the output with every pixel that its filter covers: offsets in y, in x and in the filter, channels left out. */
function taps(args: ConvolutionReference, visit: (y: number, x: number, filter: number) => void): void {
  const [, h, w, c] = args.shape;
  const [r, s] = args.weightShape;
  const { stride = 1, padding = [0, 0, 0, 0] } = args;
  const [n, oh, ow, k] = convolutionShape(args);
  for (let image = 0; image < n; image++)
    for (let i = 0; i < oh; i++)
      for (let j = 0; j < ow; j++)
        for (let a = 0; a < r; a++)
          for (let b = 0; b < s; b++) {
            const row = i * stride + a - padding[0];
            const column = j * stride + b - padding[1];
            if (row < 0 || row >= h || column < 0 || column >= w) continue;
            visit(((image * oh + i) * ow + j) * k, ((image * h + row) * w + column) * c, (a * s + b) * c * k);
          }
}

export function conv2d(args: ConvolutionReference): Float64Array {
  const [n, oh, ow, k] = convolutionShape(args);
  const c = args.shape[3];
  const y = Float64Array.from({ length: n * oh * ow * k }, (_, i) => {
    const shift = args.shift ? get(args.shift, Math.floor(i / (oh * ow * k)) * k + (i % k)) : 0;
    return (args.bias ? get(args.bias, i % k) : 0) + shift + (args.residual ? get(args.residual, i) : 0);
  });
  taps(args, (at, pixel, filter) => {
    for (let i = 0; i < c; i++) {
      const value = get(args.x, pixel + i);
      for (let o = 0; o < k; o++) y[at + o] = (y[at + o] as number) + value * get(args.weight, filter + i * k + o);
    }
  });
  return y;
}

/** Gradients of Σ dy·y. */
export function conv2dBackward(args: ConvolutionReference, dy: Values): Record<'dx' | 'dweight' | 'dbias', Float64Array> {
  const [, , c, k] = args.weightShape;
  const [dx, dweight, dbias] = [args.x.length, args.weight.length, k].map((size) => new Float64Array(size)) as Three;
  taps(args, (at, pixel, filter) => {
    for (let i = 0; i < c; i++)
      for (let o = 0; o < k; o++) {
        const w = filter + i * k + o;
        dx[pixel + i] = (dx[pixel + i] as number) + get(dy, at + o) * get(args.weight, w);
        dweight[w] = (dweight[w] as number) + get(dy, at + o) * get(args.x, pixel + i);
      }
  });
  for (let i = 0; i < dy.length; i++) dbias[i % k] = (dbias[i % k] as number) + get(dy, i);
  return { dx, dweight, dbias };
}

type Three = [Float64Array, Float64Array, Float64Array];
