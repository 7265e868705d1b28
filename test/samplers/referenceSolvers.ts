/**
 * Solvers of dx/dσ = (x - x_0)/σ, and of its like in λ, in float64 and from the papers alone. x lies in the scale x_0 + σ·ε; they give
 * it after each evaluation of the model.
 */

/** x_0 as it is predicted from x at a noise level. */
export type Predict = (x: Float64Array, sigma: number) => Float64Array;

/** Standard normal values of evaluation k of the model. */
export type Draw = (k: number) => Float64Array;

const mix = (terms: readonly [factor: number, values: Float64Array][]): Float64Array =>
  (terms[0] as [number, Float64Array])[1].map((_, i) =>
    terms.reduce((sum, [factor, values]) => sum + factor * (values[i] as number), 0),
  );

/** S_churn, S_tmin, S_tmax and S_noise of Karras et al. 2022, algorithm 2. */
export interface ChurnOptions {
  sChurn?: number;
  sTmin?: number;
  sTmax?: number;
  sNoise?: number;
}

interface Task extends ChurnOptions {
  /** Falling; the last is where it ends. */
  sigmas: readonly number[];
  x: Float64Array;
  predict: Predict;
  draw: Draw;
}

/** Karras et al. 2022, algorithm 2; `second` for Heun's correction. */
export function karras(task: Task, second: boolean): Float64Array[] {
  const { sigmas, predict, draw, sChurn = 0, sTmin = 0, sTmax = Number.POSITIVE_INFINITY, sNoise = 1 } = task;
  const steps = sigmas.length - 1;
  const all: Float64Array[] = [];
  let x = task.x;
  for (let i = 0; i < steps; i++) {
    const [sigma, next] = [sigmas[i] as number, sigmas[i + 1] as number];
    const gamma = sTmin <= sigma && sigma <= sTmax ? Math.min(sChurn / steps, Math.sqrt(2) - 1) : 0;
    const hat = sigma + gamma * sigma;
    if (gamma > 0)
      x = mix([
        [1, x],
        [sNoise * Math.sqrt(hat ** 2 - sigma ** 2), draw(all.length)],
      ]);
    const before = x;
    const start = predict(x, hat);
    const slope = mix([
      [1 / hat, x],
      [-1 / hat, start],
    ]);
    const stepped = mix([
      [1, x],
      [next - hat, slope],
    ]);
    all.push(stepped);
    x = stepped;
    if (!second || next === 0) continue;
    const again = predict(stepped, next);
    const slopeThere = mix([
      [1 / next, stepped],
      [-1 / next, again],
    ]);
    x = mix([
      [1, before],
      [(next - hat) / 2, slope],
      [(next - hat) / 2, slopeThere],
    ]);
    all.push(x);
  }
  return all;
}

/** Euler's method to σ_down and noise of σ_up, which together are the next level, with the variance of the posterior. */
export function ancestral({ sigmas, predict, draw, x: first }: Task): Float64Array[] {
  const all: Float64Array[] = [];
  let x = first;
  for (let i = 0; i + 1 < sigmas.length; i++) {
    const [sigma, next] = [sigmas[i] as number, sigmas[i + 1] as number];
    const up = Math.sqrt((next ** 2 * (sigma ** 2 - next ** 2)) / sigma ** 2);
    const down = Math.sqrt(next ** 2 - up ** 2);
    const start = predict(x, sigma);
    const slope = mix([
      [1 / sigma, x],
      [-1 / sigma, start],
    ]);
    x = mix([
      [1, x],
      [down - sigma, slope],
      [up, up > 0 ? draw(i) : x.map(() => 0)],
    ]);
    all.push(x);
  }
  return all;
}

/** DPM-Solver++ (Lu et al. 2022), multistep of order 1, 2 (midpoint) or 3, the last step of order 1 and, with 3, that before of 2. */
export function dpmSolver({ sigmas, predict, x: first }: Task, order: number): Float64Array[] {
  const all: Float64Array[] = [];
  let x = first; // x_0 + σ·ε, as everywhere here: the solver's own scale is α times that
  const past: { start: Float64Array; lambda: number }[] = [];
  const steps = sigmas.length - 1;
  for (let i = 0; i < steps; i++) {
    const [sigma, next] = [sigmas[i] as number, sigmas[i + 1] as number];
    past.unshift({ start: predict(x, sigma), lambda: -Math.log(sigma) });
    const [m0, m1, m2] = past as [(typeof past)[0], (typeof past)[0], (typeof past)[0]];
    const h = -Math.log(next) - m0.lambda;
    const decay = Math.exp(-h) - 1;
    const taken = next === 0 ? 1 : Math.min(order, past.length, i === steps - 2 ? 2 : 3);
    const terms: [number, Float64Array][] = [
      [next / sigma, x],
      [-decay, m0.start],
    ];
    if (taken > 1) {
      const r0 = (m0.lambda - m1.lambda) / h;
      const d10 = mix([
        [1 / r0, m0.start],
        [-1 / r0, m1.start],
      ]);
      if (taken === 2) terms.push([-decay / 2, d10]);
      else {
        const r1 = (m1.lambda - m2.lambda) / h;
        const d11 = mix([
          [1 / r1, m1.start],
          [-1 / r1, m2.start],
        ]);
        const bend = mix([
          [1, d10],
          [-1, d11],
        ]);
        terms.push([decay / h + 1, d10], [(decay / h + 1) * (r0 / (r0 + r1)), bend]);
        terms.push([-((decay + h) / h ** 2 - 0.5) / (r0 + r1), bend]);
      }
    }
    x = mix(terms);
    all.push(x);
  }
  return all;
}
