/** Halvings of an interval that leave nothing of it in float64. */
const halvings = 60;

/**
 * The quantile of the symmetric beta distribution B(a, a): x with I_x(a, a) = p, for p within [0, 1] and a > 0, to about 1e-15.
 */
export function symmetricBetaQuantile(p: number, a: number): number {
  if (p > 0.5) return 1 - symmetricBetaQuantile(1 - p, a);
  const wanted = p * 2 * lowerIntegral(0.5, a);
  let [low, high] = [0, 0.5];
  for (let k = 0; k < halvings; k++) {
    const middle = (low + high) / 2;
    if (lowerIntegral(middle, a) < wanted) low = middle;
    else high = middle;
  }
  return p === 0 ? 0 : high;
}

/** ∫ from 0 to x ≤ ½ of t^(a-1)·(1-t)^(a-1), by the binomial series of the second factor. */
function lowerIntegral(x: number, a: number): number {
  let [term, sum] = [1, 0];
  for (let n = 0; Math.abs(term) > 1e-18; n++) {
    sum += term / (a + n);
    term *= ((n + 1 - a) / (n + 1)) * x;
  }
  return x ** a * sum;
}
