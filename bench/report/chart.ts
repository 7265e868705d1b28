// From a description of a picture to its SVG text, by echarts, and to PNG, by sharp.
import type { EChartsOption } from 'echarts';
import { DeviceError } from '#lib/errors.js';
import { loadSharp } from '#lib/files/sharp.js';
import { escapeText } from './markup.js';
import { fontFamily, ink } from './theme.js';

/** A picture that is not drawn yet. */
export interface Plot {
  /** Of its files, unique within a result: letters, digits and hyphens. */
  name: string;
  title: string;
  /** What it shows, in words, for those who cannot see it. */
  description: string;
  width: number;
  height: number;
  option: EChartsOption;
  /** What is shown where the pointer rests: by series, by datum. */
  hints?: readonly (readonly string[])[];
}

/** What this takes of the library. */
export type Echarts = Pick<typeof import('echarts', { with: { 'resolution-mode': 'import' }}), 'init'>;

/**
 * The chart library, which is installed only where somebody wants pictures.
 * @throws DeviceError that says how to install it.
 */
export async function loadEcharts(load: () => Promise<Echarts> = () => import('echarts')): Promise<Echarts> {
  try {
    return await load();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error;
    throw new DeviceError("report: the chart library 'echarts' is not installed. Install it with: npm install echarts", {
      cause: error,
    });
  }
}

/** The lists on the right, one below the other, with symbols as wide as `itemWidth`. */
export function legends(itemWidth: number, ...entries: readonly (readonly string[])[]): EChartsOption['legend'] {
  let top = 58;
  return entries
    .filter((data) => data.length > 0)
    .map((data) => {
      const place = top;
      top += 22 * data.length + 16;
      return {
        data: [...data],
        top: place,
        left: legendLeft,
        orient: 'vertical',
        align: 'left',
        itemGap: 8,
        itemWidth,
        itemHeight: 11,
        padding: 0,
        textStyle: { color: ink.quiet.light, fontSize: 12, lineHeight: 14, width: 176 - itemWidth, overflow: 'break' },
      };
    });
}

/** Of all pictures, in pixels; the plot area ends before the legends. */
export const width = 900;
const legendLeft = 696;
export const area = { left: 84, right: width - legendLeft + 36, top: 58, bottom: 58 } as const;
/** What lies below a plot area whose lower axis has no name. */
export const nameless = 36;

/** Look of an axis. */
export const axis = {
  axisLine: { show: true, onZero: false, lineStyle: { color: ink.line.light } },
  axisTick: { show: true, lineStyle: { color: ink.line.light } },
  axisLabel: { color: ink.quiet.light, fontSize: 12 },
  nameLocation: 'middle',
  nameTextStyle: { color: ink.quiet.light, fontSize: 12 },
  splitLine: { show: true, lineStyle: { color: ink.grid.light, width: 1 } },
  minorTick: { show: false },
} as const;

/** The picture as SVG text that stands alone. */
export function drawSvg(echarts: Echarts, plot: Plot): string {
  const chart = echarts.init(null, null, { renderer: 'svg', ssr: true, width: plot.width, height: plot.height });
  try {
    chart.setOption({
      animation: false,
      backgroundColor: ink.surface.light,
      textStyle: { fontFamily },
      title: { text: plot.title, left: 16, top: 14, textStyle: { color: ink.text.light, fontSize: 16, fontWeight: 600 } },
      ...plot.option,
    });
    return finish(chart.renderToSVGString({ useViewBox: true }), plot);
  } finally {
    chart.dispose();
  }
}

/** Takes out what only a live chart needs, and puts in title, description and hints. */
function finish(svg: string, { name, title, description, hints }: Plot): string {
  const hint = (series: string, datum: string) => hints?.[Number(series)]?.[Number(datum)];
  return svg
    .replace(/<style ?>.*?<\/style>\n?/s, '')
    .replace(
      /(<path [^>]*?) ecmeta_series_index="(\d+)" ecmeta_data_index="(\d+)"( ecmeta_ssr_type="chart"[^>]*>)/g,
      (...groups) => {
        const [, start, series, datum, end] = groups as string[];
        const text = hint(series as string, datum as string);
        return start + (end as string) + (text === undefined ? '' : `<title>${escapeText(text)}</title>`);
      },
    )
    .replace(/ (ecmeta_\w+|class)="[^"]*"/g, '')
    .replace(/( id="|clip-path="url\(#)zr\d+-/g, `$1${name}-`)
    .replace(/ xmlns:xlink="[^"]*"| baseProfile="full"/g, '')
    .replace(/^<svg [^>]*/, (tag) => `${tag} role="img" aria-labelledby="${name}-title ${name}-description"`)
    .replace(
      '>',
      `><title id="${name}-title">${escapeText(title)}</title><desc id="${name}-description">${escapeText(description)}</desc>`,
    );
}

/** The picture as PNG, twice as fine as its size in pixels says. */
export async function drawPng(svg: string): Promise<Buffer> {
  const sharp = await loadSharp();
  return sharp(Buffer.from(svg), { density: 144 }).png({ compressionLevel: 9 }).toBuffer();
}

/** Whether this system has a font that letters can be drawn with. */
export async function hasFonts(): Promise<boolean> {
  const sharp = await loadSharp();
  const letter = `<svg xmlns="http://www.w3.org/2000/svg" width="32" height="32"><text x="4" y="26" font-size="24">M</text></svg>`;
  const { channels } = await sharp(Buffer.from(letter)).stats();
  return (channels[3]?.max ?? 0) > 0;
}
