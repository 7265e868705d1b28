// How far an estimate from samples may be off, by leaving out groups of them in turn.

/** A number found from samples, its standard error, and what it is without each group. */
export interface Estimate {
  value: number;
  /** Standard error: √((g − 1)/g · Σ (θ₋ᵢ − mean θ₋)²), the jackknife that leaves out a group (Efron & Tibshirani 1993, section 11). */
  error: number;
  /** θ₋ᵢ; two estimates of the same seeds are compared group by group. */
  without: number[];
}

/** An estimate by `statistic`, which hears which group to leave out; null: none. */
export async function jackknife(
  groups: number,
  statistic: (leftOut: number | null) => number | Promise<number>,
): Promise<Estimate> {
  const value = await statistic(null);
  const without: number[] = [];
  for (let group = 0; group < groups; group++) without.push(await statistic(group));
  return { value, error: errorOf(without), without };
}

/** a − b, where group i of both was drawn from the same noise. */
export function difference(a: Estimate, b: Estimate): Estimate {
  const without = a.without.map((value, i) => value - (b.without[i] as number));
  return { value: a.value - b.value, error: errorOf(without), without };
}

function errorOf(without: readonly number[]): number {
  const groups = without.length;
  const mean = without.reduce((sum, value) => sum + value, 0) / groups;
  return Math.sqrt(((groups - 1) / groups) * without.reduce((sum, value) => sum + (value - mean) ** 2, 0));
}
