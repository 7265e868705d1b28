/**
 * The weights of the reference data, a function of the name: FNV-1a of the name and the seed, mixed with the index by MurmurHash3's
 * finaliser, its ten upper bits spread over (−scale, scale), or for normalisations' weights over [0.75, 1.25).
 * @param shape PyTorch's: [out, in, …] of a weight
 */
export function hashValues(name: string, seed: number, shape: readonly number[]): Float32Array {
  const normalises = shape.length === 1 && name.endsWith('weight');
  const scale = shape.length === 1 ? 0.125 : weightScale(name, shape);
  const size = shape.reduce((product, axis) => product * axis, 1);
  return hashNumbers(name, seed, size, normalises ? 'normalisation' : scale);
}

/** The same where it is known what the tensor is: a normalisation's weight, or one whose values lie in (−scale, scale). */
export function hashNumbers(name: string, seed: number, size: number, scale: number | 'normalisation'): Float32Array {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(name)) hash = Math.imul(hash ^ byte, 0x01000193);
  hash ^= seed;
  return Float32Array.from({ length: size }, (_, i) => {
    let x = (hash + Math.imul(i, 0x9e3779b9)) | 0;
    x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
    x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
    const bits = (x ^ (x >>> 16)) >>> 22;
    return scale === 'normalisation' ? (768 + (bits >> 1)) / 1024 : ((2 * bits - 1023) / 1024) * scale;
  });
}

/** The power of two nearest to √(3 / fan-in); ½ for a table of embeddings. */
function weightScale(name: string, [, ...inputs]: readonly number[]): number {
  if (name === 'class_embedding.weight') return 0.5;
  const fanIn = inputs.reduce((product, axis) => product * axis, 1);
  return 2 ** Math.floor(0.5 * Math.log2(3 / fanIn) + 0.5);
}
