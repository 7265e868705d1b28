import { roundHalfEven, selectTimesteps } from '../diffusion/respace.js';
import { OptionError } from '../errors.js';

/** How steps are spread over a schedule; see `SamplerOptions.spacing`. */
export type Spacing = 'leading' | 'linspace' | 'trailing';

/** Which steps of a schedule of T steps a solver takes. */
export interface SpacingRequest {
  /** Named in errors. */
  owner: string;
  T: number;
  steps: number;
  spacing: Spacing | 'article';
  /** Added to every step with 'leading'. */
  offset?: number;
}

/** Steps of DDPM and DDIM, from high noise to low. */
export function processTimesteps(request: SpacingRequest): number[] {
  const { T, steps, spacing, offset = 0 } = checked(request);
  if (spacing === 'article') return selectTimesteps(T, steps).toReversed();
  return selectTimesteps(T, { steps, spacing, offset: spacing === 'leading' ? offset : 0 }).toReversed();
}

/** Steps of Euler's and Heun's method: those of `linspace` are not rounded. */
export function sigmaTimesteps(request: SpacingRequest): number[] {
  const { T, steps, spacing } = checked(request);
  if (spacing !== 'linspace') return processTimesteps(request);
  const stride = (T - 1) / Math.max(steps - 1, 1);
  return Array.from({ length: steps }, (_, i) => Math.fround(i * stride)).toReversed();
}

/**
 * Steps of DPM-Solver: `linspace` and `leading` spread one step more and leave out the lowest, because the solver goes on to no
 * noise by itself. Steps from `end` on are left out, those of too little signal.
 */
export function dpmTimesteps(request: SpacingRequest, end: number): number[] {
  const { T, steps, spacing, offset = 0, owner } = checked(request);
  if (spacing === 'article') return processTimesteps({ ...request, T: end });
  if (spacing === 'linspace') {
    const stride = (end - 1) / steps;
    const list = Array.from({ length: steps }, (_, i) => roundHalfEven((i + 1) * stride));
    return [...new Set(list)].toReversed(); // as many steps as there are cannot be without one twice
  }
  if (spacing === 'leading') {
    const stride = Math.floor(end / (steps + 1));
    return checkList(
      owner,
      T,
      Array.from({ length: steps }, (_, i) => (i + 1) * stride + offset),
    ).toReversed();
  }
  // As numpy.arange(end, 0, -T/steps) rounds its stride.
  const ratio = T / steps;
  const stride = end - (end - ratio);
  const count = Math.min(Math.ceil(end / ratio), steps);
  return Array.from({ length: count }, (_, i) => roundHalfEven(end - i * stride) - 1);
}

/**
 * Steps that the user chose, from high noise to low.
 * @throws OptionError unless they fall, within [0, T - 1], and are whole numbers unless `fractions` may be.
 */
export function chosenTimesteps(owner: string, T: number, timesteps: readonly number[], fractions: boolean): number[] {
  const wrong = timesteps.findIndex(
    (t, k) => !(t >= 0 && t <= T - 1) || !(fractions || Number.isInteger(t)) || (k > 0 && t >= (timesteps[k - 1] as number)),
  );
  if (timesteps.length === 0 || wrong >= 0)
    throw new OptionError(
      `${owner}: option 'timesteps' must be falling ${fractions ? 'numbers' : 'integers'} between ${T - 1} and 0, got ` +
        (wrong < 0 ? 'none' : `timesteps[${wrong}] = ${timesteps[wrong]}`),
    );
  return [...timesteps];
}

function checked(request: SpacingRequest): SpacingRequest {
  const { owner, T, steps } = request;
  if (steps > T) throw new OptionError(`${owner}: option 'steps' must be at most ${T}, the length of the schedule, got ${steps}`);
  return request;
}

function checkList(owner: string, T: number, timesteps: number[]): number[] {
  const last = timesteps.at(-1) as number;
  if (last >= T) throw new OptionError(`${owner}: the offset moves the last step to ${last}, beyond ${T - 1}`);
  return timesteps;
}
