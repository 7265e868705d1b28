import { type LevelPrediction, noiseFrom, type ReverseRow, type Solution, startFrom } from './solution.js';

/** Which integral is solved: of x_0 ('++') or of ε, as an ODE or with noise. */
export type DpmAlgorithm = 'dpmsolver++' | 'sde-dpmsolver++' | 'dpmsolver' | 'sde-dpmsolver';

/** How a multistep DPM-Solver steps. */
export interface DpmOptions {
  algorithmType: DpmAlgorithm;
  /** Model outputs in a step: 1 to 3. */
  order: number;
  /** Form of the second-order step. */
  solverType: 'midpoint' | 'heun';
  /** With fewer than 15 steps: the last one of order 1, the one before of at most 2. */
  lowerOrderFinal: boolean;
  /** The last step of order 1 in any case. */
  eulerAtFinal: boolean;
  /** Whether D_2 of the third order with noise has the sign that diffusers gives a part of it; false: the integral's. */
  upstreamSign?: boolean;
}

interface DpmSettings extends DpmOptions {
  prediction: LevelPrediction;
  timesteps: readonly number[];
  /** σ/α at each of them, and at the end. */
  sigmas: readonly number[];
}

const fewSteps = 15;

/**
 * DPM-Solver++ (Lu et al. 2022, arXiv 2211.01095) and DPM-Solver (arXiv 2206.00927), multistep, in λ = log(α/σ). The rows' x_0 is D_0
 * of the papers: x_0, or ε for the solvers without '++'.
 */
export function dpmSolver(settings: DpmSettings): Solution {
  const { prediction, timesteps, sigmas, algorithmType } = settings;
  const ofNoise = algorithmType === 'dpmsolver' || algorithmType === 'sde-dpmsolver';
  const alphaBars = timesteps.map((_, k) => 1 / ((sigmas[k] as number) ** 2 + 1));
  const rows = alphaBars.map((alphaBar, k): ReverseRow => {
    const start = startFrom(prediction, alphaBar);
    if (!ofNoise) return { ...start, ...multistep(settings, k) };
    const { x, output } = noiseFrom(start, alphaBar);
    return { px: x, pm: output, ...multistep(settings, k) };
  });
  const predictions = alphaBars.map((alphaBar) => startFrom(prediction, alphaBar));
  const noises = alphaBars.map((alphaBar) => {
    const { x, output } = noiseFrom({ px: 0, pm: 1 }, alphaBar);
    return { px: x, pm: output };
  });
  const history = Math.min(settings.order - 1, timesteps.length - 1) as 0 | 1 | 2;
  return { timesteps, rows, sigmas, history, ...(ofNoise && { predictions, noises }) };
}

/** Order of step k of n: it grows with the outputs that there are, and falls at the end. */
function orderAt({ order, lowerOrderFinal, eulerAtFinal, sigmas, timesteps }: DpmSettings, k: number): number {
  const steps = timesteps.length;
  const lowers = lowerOrderFinal && steps < fewSteps;
  if (k === steps - 1 && (lowers || eulerAtFinal || sigmas[steps] === 0)) return 1;
  return Math.min(order, k + 1, k === steps - 2 && lowers ? 2 : order);
}

/** x' = a·x + b·D_0 + c·D_0' + e·D_0'' + d·z, with D_0' and D_0'' of the steps before. */
function multistep(settings: DpmSettings, k: number): Pick<ReverseRow, 'a' | 'b' | 'c' | 'e' | 'd'> {
  const { algorithmType, solverType, sigmas } = settings;
  const order = orderAt(settings, k);
  const sigmaAt = (i: number) => sigmas[i] as number;
  const [from, to] = [sigmaAt(k), sigmaAt(k + 1)];
  const lambda = (i: number) => -Math.log(sigmaAt(i));
  const h = lambda(k + 1) - lambda(k);
  const [alphaFrom, alphaTo] = [1 / Math.sqrt(from * from + 1), 1 / Math.sqrt(to * to + 1)];
  const [noiseFrom, noiseTo] = [from * alphaFrom, to * alphaTo];

  // x' = a·x + first·D_0 + second·D_1 + third·D_2 + d·z
  const step = {
    'dpmsolver++': () => integral({ a: noiseTo / noiseFrom, scale: alphaTo, h, d: 0 }, solverType, order),
    'sde-dpmsolver++': () => {
      const decay = to / from; // exp(-h)
      const d = noiseTo * Math.sqrt(1 - decay * decay);
      const sde = integral({ a: (noiseTo / noiseFrom) * decay, scale: alphaTo, h: 2 * h, d }, solverType, order);
      return settings.upstreamSign ? { ...sde, third: sde.third - alphaTo } : sde;
    },
    dpmsolver: () => integral({ a: alphaTo / alphaFrom, scale: noiseTo, h: -h, d: 0 }, solverType, order),
    'sde-dpmsolver': () => {
      const ode = integral({ a: alphaTo / alphaFrom, scale: noiseTo, h: -h, d: 0 }, solverType, order);
      const d = noiseTo * Math.sqrt(Math.expm1(2 * h));
      return { ...ode, first: 2 * ode.first, second: 2 * ode.second, d };
    },
  }[algorithmType]();
  const { a, d, first } = step;
  if (order === 1) return { a, b: first, d };

  // D_1 and D_2 are divided differences of D_0 in λ.
  const r0 = (lambda(k) - lambda(k - 1)) / h;
  if (order === 2) return { a, b: first + step.second / r0, c: -step.second / r0, d };
  const r1 = (lambda(k - 1) - lambda(k - 2)) / h;
  const slope = step.second * (1 + r0 / (r0 + r1)) + step.third / (r0 + r1); // of (D_0 - D_0')/r0
  const bend = -step.second * (r0 / (r0 + r1)) - step.third / (r0 + r1); // of (D_0' - D_0'')/r1
  return { a, b: first + slope / r0, c: -slope / r0 + bend / r1, e: -bend / r1, d };
}

/** Factors of D_0, D_1 and D_2, for ∫ over a step of length h where the integrand decays by exp(-h). */
function integral(
  { a, scale, h, d }: { a: number; scale: number; h: number; d: number },
  solverType: 'midpoint' | 'heun',
  order: number,
) {
  const first = -scale * Math.expm1(-h);
  if (order === 1) return { a, d, first, second: 0, third: 0 };
  const heun = scale * (Math.expm1(-h) / h + 1);
  const third = -scale * ((Math.expm1(-h) + h) / (h * h) - 0.5);
  return { a, d, first, second: order === 2 && solverType === 'midpoint' ? first / 2 : heun, third };
}
