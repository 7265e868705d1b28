/** The random numbers of native/core/random.h once more, in TypeScript, bit for bit. */

export type Words = [number, number, number, number];

/** Philox4x32-10 (Salmon et al., SC 2011). */
export function philox(key: readonly [number, number], counter: Readonly<Words>): Words {
  let [k0, k1] = key;
  let [c0, c1, c2, c3] = counter;
  for (let round = 0; round < 10; round++) {
    const [high0, low0] = multiply(0xd2511f53, c0);
    const [high1, low1] = multiply(0xcd9e8d57, c2);
    [c0, c1, c2, c3] = [(high1 ^ c1 ^ k0) >>> 0, low1, (high0 ^ c3 ^ k1) >>> 0, low0];
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  return [c0, c1, c2, c3];
}

/** The 64-bit product of two 32-bit numbers: [high, low]. */
export function multiply(a: number, b: number): [number, number] {
  const low = Math.imul(a, b) >>> 0;
  // a·b = a·b_high·2^16 + a·b_low, each below 2^48 and exact in a float64
  const bHigh = a * (b >>> 16);
  const bLow = a * (b & 0xffff);
  const high = Math.floor((bHigh + Math.floor(bLow / 65536)) / 65536);
  return [high, low];
}

export interface Source {
  seed: number;
  stream?: number;
  step?: number;
  firstSample?: number;
}

/** The words of elements 0 … count − 1 of a sample. */
export function words({ seed, stream = 0, step = 0, firstSample = 0 }: Source, sample: number, count: number): Uint32Array {
  const key = [seed >>> 0, Math.floor(seed / 2 ** 32)] as const;
  const result = new Uint32Array(count);
  for (let block = 0; 4 * block < count; block++) {
    const four = philox(key, [block, (firstSample + sample) >>> 0, step, stream]);
    result.set(four.slice(0, count - 4 * block), 4 * block);
  }
  return result;
}

/** In [0, 1): 24 bits. */
export function uniform(word: number): number {
  return (word >>> 8) * 2 ** -24;
}

export function normals(source: Source, sample: number, count: number): Float32Array {
  const even = words(source, sample, count + (count % 2));
  const result = new Float32Array(count + (count % 2));
  for (let i = 0; i < count; i += 2) result.set(boxMuller(even[i] as number, even[i + 1] as number), i);
  return result.subarray(0, count);
}

const f = Math.fround;
const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);
const double = new Float64Array(1);
const doubleBits = new BigUint64Array(double.buffer);

function fromBits(value: number): number {
  bits[0] = value;
  return float[0] as number;
}

function toBits(value: number): number {
  float[0] = value;
  return bits[0] as number;
}

/** fmaf: the product is exact in float64; the sum is rounded to odd there, so that rounding to float32 is right (Boldo 2008). */
export function fma(a: number, b: number, c: number): number {
  const product = a * b;
  const sum = product + c;
  const part = sum - product;
  const error = product - (sum - part) + (c - part);
  if (error === 0) return f(sum);
  double[0] = sum;
  if (((doubleBits[0] as bigint) & 1n) === 0n) doubleBits[0] = (doubleBits[0] as bigint) + (error > 0 === sum > 0 ? 1n : -1n);
  return f(double[0] as number);
}

/** A polynomial by Horner's rule, highest coefficient first. */
function horner(x: number, ...coefficients: number[]): number {
  const [first, ...rest] = coefficients.map(f) as [number, ...number[]];
  return rest.reduce((sum, coefficient) => fma(sum, x, coefficient), first);
}

/** ln u for u in (0, 1]. */
export function logUnit(u: number): number {
  const shifted = (toBits(u) - 0x3f3504f3) | 0;
  const e = shifted >> 23;
  const m = fromBits((shifted & 0x007fffff) + 0x3f3504f3);
  const x = f(m - 1);
  const z = f(x * x);
  const p = horner(
    x,
    7.0376836292e-2,
    -1.151461031e-1,
    1.167699874e-1,
    -1.2420140846e-1,
    1.4249322787e-1,
    -1.6668057665e-1,
    2.0000714765e-1,
    -2.4999993993e-1,
    3.3333331174e-1,
  );
  let y = f(f(x * z) * p);
  y = fma(e, f(-2.1219444e-4), y);
  y = fma(z, -0.5, y);
  return fma(e, 0.693359375, f(x + y));
}

/** Two standard normals from two words. */
function boxMuller(radiusWord: number, angleWord: number): [number, number] {
  const open = fma(f(radiusWord), 2 ** -32, 2 ** -33);
  const radius = f(Math.sqrt(f(-2 * logUnit(open))));
  const quarter = ((angleWord + 0x20000000) >>> 0) >>> 30;
  const theta = f(f((angleWord - (quarter << 30)) | 0) * f(1.4629180792671596e-9));
  const z = f(theta * theta);
  const sine = fma(f(theta * z), horner(z, -1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1), theta);
  const cosine = fma(f(z * z), horner(z, 2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2), fma(z, -0.5, 1));
  const [x, y] = quarter % 2 === 1 ? [sine, cosine] : [cosine, sine];
  return [f(radius * (quarter === 1 || quarter === 2 ? -x : x)), f(radius * (quarter >= 2 ? -y : y))];
}
