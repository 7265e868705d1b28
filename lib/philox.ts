/**
 * Words of the engine's random numbers (native/core/random.h), for draws that steer what JavaScript hands over: Philox4x32-10
 * (Salmon et al., SC 2011) with key = seed (low, high) and counter = { block, sample, step, stream }; a block is four elements.
 */
export function philox(
  [key0, key1]: readonly [number, number],
  counter: readonly [block: number, sample: number, step: number, stream: number],
): [number, number, number, number] {
  let [k0, k1] = [key0, key1];
  let [c0, c1, c2, c3] = counter;
  for (let round = 0; round < 10; round++) {
    const [p0, p1] = [0xd2511f53n * BigInt(c0), 0xcd9e8d57n * BigInt(c2)];
    [c0, c2] = [(high(p1) ^ c1 ^ k0) >>> 0, (high(p0) ^ c3 ^ k1) >>> 0];
    [c1, c3] = [low(p1), low(p0)];
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  return [c0, c1, c2, c3];
}

const high = (product: bigint): number => Number(product >> 32n);
const low = (product: bigint): number => Number(product & 0xffffffffn);

/** In [0, 1): 24 bits of a word. */
export function uniform(word: number): number {
  return (word >>> 8) * 2 ** -24;
}
