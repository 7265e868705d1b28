/** A number as the sum of two: what its first part leaves is in the second. */
type Double = readonly [high: number, low: number];

/**
 * cos t for t in [0, π/2), from twice the precision of a number and rounded once, as C libraries round it. Where a schedule divides
 * neighbouring values, the last digit of `Math.cos`, which is sometimes off by one, grows to 2e-12 of a beta.
 */
export function cosine(t: number): number {
  const square = product(t, t);
  // 1 - t²/2·(1 - t²/12·(1 - t²/30·(…))), where what is far inside needs no second part.
  let inner = 1;
  for (let k = 26; k > 14; k -= 2) inner = 1 - (square[0] / (k * (k - 1))) * inner;
  let sum: Double = [inner, 0];
  for (let k = 14; k > 0; k -= 2) sum = oneMinus(quotient(times(square, sum), k * (k - 1)));
  return sum[0];
}

const splitter = 2 ** 27 + 1;

/** The exact product (Dekker 1971). */
function product(a: number, b: number): Double {
  const [highA, lowA] = halves(a);
  const [highB, lowB] = halves(b);
  const high = a * b;
  return [high, highA * highB - high + highA * lowB + lowA * highB + lowA * lowB];
}

/** A number as the sum of two of half as many digits. */
function halves(a: number): Double {
  const scaled = splitter * a;
  const high = scaled - (scaled - a);
  return [high, a - high];
}

/** a + b, where |a| ≥ |b|. */
function normalized(a: number, b: number): Double {
  const high = a + b;
  return [high, b - (high - a)];
}

function times(a: Double, b: Double): Double {
  const [high, low] = product(a[0], b[0]);
  return normalized(high, low + a[0] * b[1] + a[1] * b[0]);
}

function quotient(a: Double, b: number): Double {
  const high = a[0] / b;
  const [whole, rest] = product(high, b);
  return normalized(high, (a[0] - whole - rest + a[1]) / b);
}

/** 1 - a, for a in [0, 2]. */
function oneMinus(a: Double): Double {
  const high = 1 - a[0];
  return normalized(high, 1 - high - a[0] - a[1]);
}
