// Colours of the pictures. Each has a light form, which is what a picture holds, and a dark one, which the page puts in its place.

/** A colour on a light ground and its counterpart on a dark one. */
export interface Colour {
  light: string;
  dark: string;
}

const colour = (light: string, dark: string): Colour => ({ light, dark });

/** What a picture is drawn with, apart from data. */
export const ink = {
  surface: colour('#fdfdfc', '#1b1b1a'),
  text: colour('#1f1f1d', '#f2f1ec'),
  quiet: colour('#5f5e59', '#b9b7ae'),
  line: colour('#a3a29b', '#6f6e68'),
  grid: colour('#e6e5df', '#33332f'),
  floor: colour('#77766f', '#9a988f'),
} as const;

/** Of the engines. Told apart by shape or line too. */
const engines = [
  colour('#2268c9', '#4a94ee'),
  colour('#d65f1e', '#ec7c3c'),
  colour('#158a63', '#27b083'),
  colour('#7a4fbf', '#a583e4'),
  colour('#b8891a', '#d9a72c'),
  colour('#c23a72', '#e5669a'),
];

/** A hue for each family of operations, from strong to pale for its passes. */
const families: readonly (readonly [pattern: RegExp, shades: readonly Colour[]])[] = [
  [/^conv/i, [colour('#1b57ab', '#2f75d6'), colour('#4f8fe0', '#69a5f0'), colour('#9cc2f1', '#a9cdf8')]],
  [/^attention/i, [colour('#c4501a', '#d9642b'), colour('#ef9157', '#f3a06c'), colour('#f6c3a2', '#f9cfb3')]],
  [/^(group|norm)/i, [colour('#0f7a57', '#17966d'), colour('#45b18c', '#52c69e'), colour('#9ed8c2', '#a6e2cc')]],
  [/^(linear|gemm|matrix|matmul)/i, [colour('#a87a0d', '#c2911c'), colour('#d9ad43', '#e3bc58'), colour('#edd28f', '#f2dca3')]],
  [/^optimi/i, [colour('#6540a8', '#8561cc'), colour('#9a7cd4', '#ab8fe3'), colour('#cbb9ec', '#d4c5f3')]],
  [
    /^(noising|reverse|posterior|process|loss|sampl)/i,
    [colour('#b02b63', '#cb4580'), colour('#dc6f9d', '#ea86b0'), colour('#f0b3cc', '#f5c1d6')],
  ],
  [/./, [colour('#5c5b55', '#8c8a81'), colour('#8d8c84', '#b0aea4'), colour('#bdbcb4', '#d2d0c7')]],
];

/** Every colour that a picture may hold. */
export const colours: readonly Colour[] = [...Object.values(ink), ...engines, ...families.flatMap(([, shades]) => shades)];

export const fontFamily = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'DejaVu Sans', Arial, sans-serif";

/** What begins with one of these has the colour of that place in every picture, unless a variant of it has. */
const usual = ['ours', 'onnxruntime', 'torch'];

/** Colours by engine: the usual ones, then those that are left. */
export function engineColours(names: Iterable<string>): Map<string, string> {
  const taken = new Map<string, number>();
  const all = [...new Set(['ours', ...names])];
  for (const [place, engine] of usual.entries()) {
    const first = all.find((name) => name.startsWith(engine));
    if (first !== undefined) taken.set(first, place);
  }
  let next = usual.length;
  return new Map(all.map((name) => [name, (engines[(taken.get(name) ?? next++) % engines.length] as Colour).light]));
}

/** Forward passes before backward ones. */
function byPass(a: string, b: string): number {
  const rank = (kind: string) => kind.replace(/\bforward\b/, '0').replace(/\bdata\b/, '1');
  return rank(a) < rank(b) ? -1 : 1;
}

/** Colours by kind of operation, in order: kinds of one family share a hue. */
export function kindColours(kinds: Iterable<string>): Map<string, string> {
  const taken = new Map<readonly Colour[], number>();
  return new Map(
    [...new Set(kinds)].sort(byPass).map((kind) => {
      const [, shades] = families.find(([pattern]) => pattern.test(kind)) ?? (families.at(-1) as (typeof families)[number]);
      const index = taken.get(shades) ?? 0;
      taken.set(shades, index + 1);
      return [kind, (shades[index % shades.length] as Colour).light];
    }),
  );
}
