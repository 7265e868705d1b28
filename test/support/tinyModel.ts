import type { ModelFunction } from '../../lib/diffusion/model.js';
import type { Tensor } from '../../lib/tensor.js';

/** Parameters of the model of the reference data: f(x, t) = g(t)·x + h(t), g = a + b·t/(t + c), h = d·cos(w·t). */
export interface TinyModelParameters {
  a: number;
  b: number;
  c: number;
  d: number;
  w: number;
  /** Where the variance is learned: behind f come as many channels gv·x + dv·sin(wv·t). */
  gv?: number;
  dv?: number;
  wv?: number;
}

export const tinyParameters: TinyModelParameters = { a: 0.05, b: 0.9, c: 100, d: 0.05, w: 1 };

/** g and h in float64. */
export function tinyCoefficients({ a, b, c, d, w }: TinyModelParameters, t: number): [g: number, h: number] {
  return [a + (b * t) / (t + c), d * Math.cos(w * t)];
}

/** The model as an async function that computes outside of the device, in float32; `seen` collects the t of each call. */
export function tinyModel(parameters: TinyModelParameters, seen: number[][] = []): ModelFunction<Promise<Tensor>> {
  return async (xt, t) => {
    const [x, steps] = await Promise.all([xt.read(), t.read()]);
    seen.push([...steps]);
    const { gv, dv = 0, wv = 0 } = parameters;
    const channels = xt.shape.at(-1) as number;
    const parts = gv === undefined ? 1 : 2;
    const size = x.length / steps.length;
    const y = new Float32Array(parts * x.length);
    for (const [n, step] of steps.entries()) {
      const [g, h] = tinyCoefficients(parameters, step).map(Math.fround) as [number, number];
      const [g2, h2] = [gv ?? 0, dv * Math.sin(wv * step)].map(Math.fround) as [number, number];
      for (let i = n * size; i < (n + 1) * size; i++) {
        const at = parts * (i - (i % channels)) + (i % channels);
        y[at] = Math.fround(g * (x[i] as number)) + h;
        if (parts === 2) y[at + channels] = Math.fround(g2 * (x[i] as number)) + h2;
      }
    }
    return xt.device.tensor(y, [...xt.shape.slice(0, -1), parts * channels]);
  };
}
