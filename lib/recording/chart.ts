import type { CurvePoint } from './lossCurve.js';

const [width, height] = [960, 540];
const frame = { left: 80, right: width - 24, top: 48, bottom: height - 56 };
const colours = { line: '#1f5fa8', band: '#1f5fa8', grid: '#e3e6ea', text: '#30363d' };

/** An axis: from values to pixels, and the values that are labelled. */
interface Axis {
  place(value: number): number;
  ticks: number[];
}

/**
 * A loss curve as SVG: the mean of each stretch of steps as a line, smallest and largest as a band around it. The axis of the
 * losses is logarithmic where they span more than a factor of four.
 */
export function lossChart(points: readonly CurvePoint[], lastStep: number): string {
  const [low, high] = [Math.min(...points.map((point) => point.low)), Math.max(...points.map((point) => point.high))];
  const x = linearAxis(0, Math.max(1, lastStep), frame.left, frame.right);
  const y =
    low > 0 && high / low > 4
      ? logarithmicAxis(low, high, frame.bottom, frame.top)
      : linearAxis(...widened(low, high), frame.bottom, frame.top);
  const at = (step: number, loss: number) => `${x.place(step).toFixed(1)},${y.place(loss).toFixed(1)}`;
  const line = points.map(({ step, mean }) => at(step, mean)).join(' ');
  const band = [...points.map((p) => at(p.step, p.high)), ...points.toReversed().map((p) => at(p.step, p.low))].join(' ');
  const latest = points.at(-1);
  const title = latest ? `loss ${latest.mean.toPrecision(4)} at step ${lastStep.toLocaleString('en')}` : 'loss: no steps yet';
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}"`,
    ` font-family="sans-serif" font-size="15" fill="${colours.text}">`,
    `<rect width="${width}" height="${height}" fill="white"/>`,
    `<text x="${frame.left}" y="30" font-size="18">${title}</text>`,
    ...(latest ? [...grid(x, y), `<polygon points="${band}" fill="${colours.band}" fill-opacity="0.2"/>`] : []),
    `<polyline points="${line}" fill="none" stroke="${colours.line}" stroke-width="2" stroke-linejoin="round"/>`,
    `<text x="${(frame.left + frame.right) / 2}" y="${height - 10}" text-anchor="middle">step</text>`,
    '</svg>\n',
  ].join('\n');
}

function grid(x: Axis, y: Axis): string[] {
  const { left, right, top, bottom } = frame;
  const line = (x1: number, y1: number, x2: number, y2: number) =>
    `<line x1="${x1.toFixed(1)}" y1="${y1.toFixed(1)}" x2="${x2.toFixed(1)}" y2="${y2.toFixed(1)}" stroke="${colours.grid}"/>`;
  return [
    ...y.ticks.map((value) => {
      const at = y.place(value);
      const label = Number(value.toPrecision(6));
      return `${line(left, at, right, at)}<text x="${left - 8}" y="${(at + 5).toFixed(1)}" text-anchor="end">${label}</text>`;
    }),
    ...x.ticks.map((value) => {
      const at = x.place(value);
      const label = Math.round(value).toLocaleString('en');
      return `${line(at, top, at, bottom)}<text x="${at.toFixed(1)}" y="${bottom + 22}" text-anchor="middle">${label}</text>`;
    }),
  ];
}

const widened = (low: number, high: number): [number, number] => {
  const room = (high - low) * 0.05 || Math.abs(high) * 0.05 || 1;
  return [low - room, high + room];
};

/** Labels at 1, 2 or 5 times a power of ten, about six of them. */
function linearAxis(low: number, high: number, from: number, to: number): Axis {
  const rough = (high - low) / 6;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((factor) => factor * power >= rough) as number);
  const first = Math.ceil(low / step);
  return {
    place: (value) => from + ((value - low) / (high - low)) * (to - from),
    ticks: Array.from({ length: Math.max(0, Math.floor(high / step) - first + 1) }, (_, i) => (first + i) * step),
  };
}

/** Labels at 1, 2 and 5 times each power of ten; at the powers alone where these are many. */
function logarithmicAxis(low: number, high: number, from: number, to: number): Axis {
  const [bottom, top] = [Math.log10(low) - 0.02, Math.log10(high) + 0.02];
  const factors = top - bottom > 3 ? [1] : [1, 2, 5];
  const powers = Array.from({ length: Math.ceil(top) - Math.floor(bottom) + 1 }, (_, i) => Math.floor(bottom) + i);
  const values = powers.flatMap((power) => factors.map((factor) => factor * 10 ** power));
  return {
    place: (value) => from + ((Math.log10(value) - bottom) / (top - bottom)) * (to - from),
    ticks: values.filter((value) => Math.log10(value) >= bottom && Math.log10(value) <= top),
  };
}
