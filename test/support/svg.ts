/** What a drawn picture holds, read from its text. Positions are in pixels. */
export interface Shape {
  x: number;
  y: number;
  /** By how much the shape is enlarged. */
  scale: number;
  /** Its outline, before it is moved. */
  outline: string;
  attributes: string;
}

const entities: Record<string, string> = { '&lt;': '<', '&gt;': '>', '&quot;': '"', '&#39;': "'", '&amp;': '&' };
export const plain = (markup: string): string =>
  markup.replace(/&(lt|gt|quot|amp|#39);/g, (entity) => entities[entity] as string);

function place(attributes: string): { x: number; y: number; scale: number } {
  const numbers = /transform="(?:translate|matrix)\(([^)]*)\)"/.exec(attributes)?.[1]?.split(/[ ,]/).map(Number) ?? [0, 0];
  return { x: numbers.at(-2) as number, y: numbers.at(-1) as number, scale: numbers.length === 6 ? (numbers[0] as number) : 1 };
}

/** All texts of the picture, without title, description and hints. */
export const texts = (svg: string): { text: string; x: number; y: number }[] =>
  [...svg.matchAll(/<text ([^>]*)>([^<]*)<\/text>/g)].map(([, attributes, text]) => {
    const { x, y } = place(attributes as string);
    return { text: plain(text as string), x, y };
  });

/** The only text that says this. Throws where there is none. */
export function textAt(svg: string, wanted: string): { x: number; y: number } {
  const found = texts(svg).filter(({ text }) => text === wanted);
  if (!found[0]) throw new Error(`no '${wanted}' among ${JSON.stringify(texts(svg).map(({ text }) => text))}`);
  return found[0];
}

/** The shapes whose hint begins so. */
export const hinted = (svg: string, hint: string): Shape[] =>
  [...svg.matchAll(/<path d="([^"]*)"([^>]*)><title>([^<]*)<\/title>/g)]
    .filter(([, , , title]) => plain(title as string).startsWith(hint))
    .map(([, outline, attributes]) => ({
      ...place(attributes as string),
      outline: outline as string,
      attributes: attributes as string,
    }));

/** The lines without hint of one colour, as their corners. */
export const linesOf = (svg: string, colour: string): [x: number, y: number][][] =>
  [...svg.matchAll(/<path d="M([-\d.L ]+)"([^>]*)>/g)]
    .filter(([, , attributes]) => attributes?.includes(`stroke="${colour}"`))
    .map(([, points]) => (points as string).split('L').map((point) => point.split(' ').map(Number) as [number, number]));

/** Where an axis puts a value, from the places of two of its labels; along `x` or `y`. */
export function scaleOf(svg: string, along: 'x' | 'y', from: [label: string, value: number], to: [label: string, value: number]) {
  const [first, last] = [textAt(svg, from[0])[along], textAt(svg, to[0])[along]];
  return {
    logarithmic: (value: number) => first + ((last - first) * Math.log(value / from[1])) / Math.log(to[1] / from[1]),
    linear: (value: number) => first + ((last - first) * (value - from[1])) / (to[1] - from[1]),
  };
}
