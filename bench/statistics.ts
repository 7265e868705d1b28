/** The middle value, and the values that a tenth lies below and above. */
export interface Spread {
  median: number;
  p10: number;
  p90: number;
}

export function spread(samples: readonly number[]): Spread {
  const sorted = [...samples].sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.round(share * (sorted.length - 1))] as number;
  return { median: at(0.5), p10: at(0.1), p90: at(0.9) };
}
