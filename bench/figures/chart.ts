// Line charts with error bars as SVG, and pictures as PNG.
import * as echarts from 'echarts';
import sharp from 'sharp';

/** A place of a curve, and its standard error. */
export interface Point {
  x: number;
  y: number;
  error: number;
}

export interface Chart {
  title: string;
  subtitle: string;
  /** At even distances where `even`, with a label for each place; else to scale. */
  x: { name: string; even?: boolean; ticks?: (value: number) => string };
  /** Logarithmic where the values differ more than eightfold. */
  y: { name: string };
  curves: { name: string; points: Point[] }[];
  /** A horizontal line, and its name. */
  floor?: { name: string; value: number };
}

const colours = ['#1f5fbf', '#d1495b', '#2e8b57', '#8a5fb0'];
const [width, height] = [720, 440];

/** The chart as SVG text; bars reach a standard error up and down. */
export function chartSvg({ title, subtitle, x, y, curves, floor }: Chart): string {
  const chart = echarts.init(null, null, { renderer: 'svg', ssr: true, width, height });
  const places = [...new Set(curves.flatMap(({ points }) => points.map((point) => point.x)))].sort((a, b) => a - b);
  const at = (value: number) => (x.even ? places.indexOf(value) : value);
  const lines = curves.map(({ name, points }, i) => ({
    ...{ name, type: 'line' as const, symbolSize: 7, itemStyle: { color: colours[i] as string } },
    lineStyle: { color: colours[i] as string, width: 2 },
    data: points.map((point) => [at(point.x), point.y]),
  }));
  const bars = curves.map(({ points }, i) => ({
    ...{ type: 'custom' as const, z: 3, silent: true },
    data: points.map((point) => [at(point.x), Math.max(point.y - point.error, point.y / 100), point.y + point.error]),
    encode: { x: 0, y: [1, 2] },
    renderItem: (_: unknown, api: echarts.CustomSeriesRenderItemAPI) => {
      const [low, high] = [1, 2].map((column) => api.coord([api.value(0), api.value(column)])) as [number[], number[]];
      return bar(low, high, colours[i] as string);
    },
  }));
  const level = floor && {
    ...{ name: floor.name, type: 'line' as const, symbol: 'none', itemStyle: { color: '#777' } },
    lineStyle: { color: '#777', width: 1, type: 'dashed' as const },
    data: places.map((place) => [at(place), floor.value]),
  };
  const heights = [...curves.flatMap(({ points }) => points.map((point) => point.y)), ...(floor ? [floor.value] : [])];
  const wide = Math.max(...heights) > 8 * Math.min(...heights);
  const axis = { nameLocation: 'middle' as const, nameTextStyle: { color: '#333' } };
  chart.setOption({
    animation: false,
    backgroundColor: '#fff',
    textStyle: { fontFamily: 'DejaVu Sans, Verdana, sans-serif' },
    title: { text: title, subtext: subtitle, left: 'center', textStyle: { fontSize: 15 }, subtextStyle: { color: '#555' } },
    legend: { top: 56, itemGap: 24, data: [...curves, ...(floor ? [floor] : [])].map(({ name }) => name) },
    grid: { left: 70, right: 30, top: 90, bottom: 55 },
    xAxis: {
      ...axis,
      ...{ name: x.name, nameGap: 30 },
      ...(x.even ? { type: 'category', data: places.map(String) } : { type: 'value', max: places.at(-1) }),
      ...(x.ticks && { axisLabel: { formatter: x.ticks } }),
    } as echarts.XAXisComponentOption,
    yAxis: {
      ...axis,
      ...{ ...(wide ? { type: 'log', logBase: 2 } : { type: 'value' }), name: y.name, nameGap: 45 },
    } as echarts.YAXisComponentOption,
    series: [...lines, ...(level ? [level] : []), ...bars] as echarts.SeriesOption[],
  });
  const svg = chart.renderToSVGString();
  chart.dispose();
  return svg;
}

/** A vertical line with a short one across each end. */
function bar([x, low]: number[], [, high]: number[], stroke: string) {
  const line = (x1: number, y1: number, x2: number, y2: number) => ({
    ...{ type: 'line' as const, style: { stroke, lineWidth: 1.5 } },
    shape: { x1, y1, x2, y2 },
  });
  const [middle, bottom, top] = [x, low, high] as [number, number, number];
  return {
    type: 'group' as const,
    children: [
      line(middle, bottom, middle, top),
      line(middle - 4, bottom, middle + 4, bottom),
      line(middle - 4, top, middle + 4, top),
    ],
  };
}

/** Text and pictures in a grid of blocks: SVG with the PNG of each block inside. */
export function blocksSvg(blocks: { title: string; png: Buffer; width: number; height: number }[], captions: string[]): string {
  const [margin, line] = [10, 22];
  const wide = Math.max(...blocks.map((block) => block.width)) + 2 * margin;
  let y = margin;
  const parts = blocks.map(({ title, png, width, height }) => {
    const text = `<text x="${margin}" y="${y + 14}">${title}</text>`;
    const picture = `<image x="${margin}" y="${y + line}" width="${width}" height="${height}" href="data:image/png;base64,${png.toString('base64')}"/>`;
    y += line + height + margin;
    return text + picture;
  });
  const column = (wide - 2 * margin) / Math.max(captions.length, 1);
  const below = captions.map(
    (caption, i) => `<text x="${margin + (i + 0.5) * column}" y="${y + 8}" text-anchor="middle" font-size="11">${caption}</text>`,
  );
  const tall = y + (captions.length > 0 ? line : 0);
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${wide}" height="${tall}" viewBox="0 0 ${wide} ${tall}" ` +
    `font-family="DejaVu Sans, Verdana, sans-serif" font-size="13"><rect width="100%" height="100%" fill="#fff"/>` +
    `${parts.join('')}${below.join('')}</svg>\n`
  );
}

/** u8 images [rows·columns, h, w, c] side by side, each pixel `scale` pixels wide. */
export async function gridPng(images: Uint8Array, [h, w, c]: readonly [number, number, number], columns: number, scale: number) {
  const rows = images.length / (h * w * c) / columns;
  const grid = new Uint8Array(images.length);
  for (let image = 0; image < rows * columns; image++)
    for (let row = 0; row < h; row++) {
      const from = (image * h + row) * w * c;
      const [top, left] = [Math.floor(image / columns) * h + row, (image % columns) * w];
      grid.set(images.subarray(from, from + w * c), (top * columns * w + left) * c);
    }
  const size = { width: columns * w * scale, height: rows * h * scale };
  const picture = sharp(grid, { raw: { width: columns * w, height: rows * h, channels: c as 1 | 3 } });
  const png = await picture
    .resize(size.width, size.height, { kernel: 'nearest' })
    .png({ compressionLevel: 9, colours: 32, dither: 0 })
    .toBuffer();
  return { png, ...size };
}

/** PNG of an SVG. */
export const pngOf = (svg: string): Promise<Buffer> =>
  sharp(Buffer.from(svg)).flatten({ background: '#fff' }).png({ compressionLevel: 9, colours: 64, dither: 0 }).toBuffer();
