// Images, and evaluations of the network, that a second makes at each batch.
import { type AtBatch, describeLines, linesOf, type Series, seriesOf, steps } from './batches.js';
import type { Plot } from './chart.js';
import { digits, slug } from './format.js';
import { type Line, linePlot } from './lines.js';
import { knows, type Picture } from './picture.js';

const withImages = knows('batch', 'images');
const withEvaluations = knows('batch', 'evaluations');

export const throughput: Picture = {
  heading: 'Throughput',
  caption:
    'How many images a second a training step learns from or a sampling makes, and, where an image takes several, how many evaluations of the network a ' +
    'second holds, each image of a batch counted. The floor of an element type is the time that the FLOPs and bytes take at this machine’s ceilings: no ' +
    'line can rise above it.',
  missing:
    'No throughput against batch: the result holds no training step or sampling with its batch and its images or evaluations.',
  plots: (result) => [
    ...seriesOf(steps(result).filter(withImages)).map((series) => plot(series, 'images', ({ images }) => images)),
    ...seriesOf(
      steps(result)
        .filter(withEvaluations)
        .filter(({ evaluations }) => evaluations > 1),
    ).map((series) => plot(series, 'evaluations', ({ evaluations, batch }) => evaluations * batch)),
  ],
};

function plot<M extends AtBatch>({ title, measurements }: Series<M>, what: string, count: (measurement: M) => number): Plot {
  const write = (rate: number) => `${digits(rate)} ${what}/s`;
  const lines = linesOf(measurements, (seconds, one) => count(one) / seconds, write);
  return linePlot({
    name: `throughput-${slug(`${measurements[0]?.suite} ${title} ${what}`)}`,
    title: `${title}: ${what} a second`,
    description: `Throughput against batch of ${title}. ${describeLines(lines, write)}.`,
    yName: `${what}/s`,
    write: digits,
    logarithmic: isWide(lines),
    lines,
  });
}

/** Whether an axis from 0 would press some lines flat: bf16 on a GPU beside f32. */
function isWide(lines: readonly Line[]): boolean {
  const largest = lines
    .filter(({ points }) => points.length > 0)
    .map(({ points }) => Math.max(...points.map(({ value }) => value)));
  return Math.max(...largest) > 8 * Math.min(...largest);
}
