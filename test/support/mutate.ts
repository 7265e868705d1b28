/** A generator of 32-bit numbers below `limit`, the same for the same seed (mulberry32). */
export function numbers(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (state + 0x6d2b79f5) | 0;
    let x = Math.imul(state ^ (state >>> 15), state | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) % limit;
  };
}

/** Lengths and counts that readers are tempted to believe, little-endian. */
const absurd = [0n, 1n, 0x7fn, 0xffn, 0xffffn, 0x7fffffffn, 0xffffffffn, 1n << 53n, (1n << 63n) - 1n, (1n << 64n) - 1n];

/** A damaged copy: flipped bits, absurd lengths, pieces cut out, doubled or taken from `others`, tokens put in, an early end. */
export function mutate(
  bytes: Buffer,
  random: (limit: number) => number,
  others: readonly Buffer[] = [bytes],
  tokens: readonly Buffer[] = [],
): Buffer {
  let result: Buffer = Buffer.from(bytes);
  for (let changes = 1 + random(3); changes > 0; changes--) {
    const at = random(result.length + 1);
    const end = Math.min(result.length, at + random(random(2) === 0 ? 9 : result.length + 1));
    const insert = (piece: Uint8Array, until = at) => Buffer.concat([result.subarray(0, at), piece, result.subarray(until)]);
    switch (random(7)) {
      case 0:
        if (at < result.length) result[at] = (result[at] as number) ^ (1 << random(8));
        break;
      case 1: {
        const value = Buffer.alloc(8);
        value.writeBigUInt64LE(absurd[random(absurd.length)] as bigint);
        value.copy(result, at, 0, 1 << random(4));
        break;
      }
      case 2:
        result = insert(Buffer.alloc(0), end);
        break;
      case 3:
        result = insert(result.subarray(at, end));
        break;
      case 4: {
        const other = others[random(others.length)] as Buffer;
        const from = random(other.length + 1);
        result = insert(other.subarray(from, from + random(64)), end);
        break;
      }
      case 5:
        if (tokens.length > 0) result = insert(tokens[random(tokens.length)] as Buffer, random(2) === 0 ? at : end);
        break;
      default:
        if (random(4) === 0) result = result.subarray(0, at);
    }
  }
  return result;
}

/** What makes damaged JSON interesting. */
export const jsonTokens = [
  '{',
  '}',
  '[',
  ']',
  '"',
  ',',
  ':',
  '\\',
  'null',
  '-Infinity',
  'NaN',
  '1e999',
  '-1',
  '""',
  '9007199254740993',
].map((text) => Buffer.from(text, 'latin1'));
