import { symmetricBetaQuantile } from './betaQuantile.js';

/** σ = √((1-ᾱ)/ᾱ) of every step of a schedule, rising; where nothing but noise is left (ᾱ = 0), that of ᾱ = 2^-24, as in diffusers. */
export function sigmasOf(alphasCumprod: Float64Array): Float64Array {
  return alphasCumprod.map((alphaBar) => Math.sqrt(1 / (alphaBar || 2 ** -24) - 1));
}

/**
 * ᾱ as diffusers has it, of betas and 1 - β in float32, and rounded to it: with that its models are trained, and the noise levels of
 * the first steps follow from its last digits.
 */
export function singlePrecision(betas: Float64Array): Float64Array {
  let product = 1;
  return betas.map((beta) => {
    product *= Math.fround(1 - Math.fround(beta));
    return Math.fround(product);
  });
}

/** The value between entries of a list, at a fractional index; beyond its ends that of the end. */
export function interpolate(values: ArrayLike<number>, index: number): number {
  const inside = Math.min(Math.max(index, 0), values.length - 1);
  const low = Math.min(Math.floor(inside), Math.max(values.length - 2, 0));
  const weight = inside - low;
  const [a, b] = [values[low] as number, values[Math.min(low + 1, values.length - 1)] as number];
  return weight === 0 ? a : a + weight * (b - a);
}

/** The fractional step of a schedule whose noise level is σ: log σ is interpolated. `sigmas` rises. */
export function timestepOfSigma(sigmas: Float64Array, sigma: number): number {
  const last = sigmas.length - 1;
  if (last === 0) return 0;
  const above = sigmas.findIndex((level) => level > sigma);
  const low = Math.min(above < 0 ? last - 1 : Math.max(above - 1, 0), last - 1);
  const [from, to] = [Math.log(sigmas[low] as number), Math.log(sigmas[low + 1] as number)];
  const weight = (Math.log(Math.max(sigma, 1e-10)) - from) / (to - from);
  return low + Math.min(Math.max(weight, 0), 1);
}

/** How many steps of a schedule have λ = log(α/σ) of at least `lambda`; λ falls with the step. */
export function stepsAbove(levels: Float64Array, lambda: number): number {
  const below = levels.findIndex((sigma) => -Math.log(sigma) < lambda);
  return below < 0 ? levels.length : below;
}

/** `steps` noise levels between two, from high to low. */
export interface SigmaRange {
  highest: number;
  lowest: number;
  steps: number;
}

const rho = 7;

/** Evenly spaced in σ^(1/7) (Karras et al. 2022, arXiv 2206.00364, equation 5). */
export function karrasSigmas(range: SigmaRange): number[] {
  return spaced(
    range,
    (sigma) => sigma ** (1 / rho),
    (root) => root ** rho,
  );
}

/** Evenly spaced in log σ: `use_exponential_sigmas` of diffusers, and `use_lu_lambdas`, whose exponent is 1. */
export function exponentialSigmas(range: SigmaRange): number[] {
  return spaced(range, Math.log, Math.exp);
}

/** Where the distribution B(0.6, 0.6) has its quantiles: `use_beta_sigmas` of diffusers (arXiv 2407.12173). */
export function betaSigmas({ highest, lowest, steps }: SigmaRange): number[] {
  const stride = 1 / Math.max(steps - 1, 1);
  return Array.from({ length: steps }, (_, k) => lowest + symmetricBetaQuantile(1 - k * stride, 0.6) * (highest - lowest));
}

function spaced(
  { highest, lowest, steps }: SigmaRange,
  to: (sigma: number) => number,
  from: (value: number) => number,
): number[] {
  const [start, end] = [to(highest), to(lowest)];
  return Array.from({ length: steps }, (_, k) => from(start + (steps === 1 ? 0 : k / (steps - 1)) * (end - start)));
}
