// What one step of a sampling takes at each batch.
import { type AtBatch, describeLines, linesOf, type Series, seriesOf } from './batches.js';
import type { Plot } from './chart.js';
import { seconds, slug } from './format.js';
import { linePlot } from './lines.js';
import { knows, type Picture } from './picture.js';

const hasSteps = knows('batch', 'evaluations');

export const latency: Picture = {
  heading: 'Latency of sampling',
  caption:
    'The time of a sampling divided by its steps, each one evaluation of the network on the whole batch. Where a line runs flat, the machine waits for ' +
    'something other than arithmetic; where it rises like its floor, it does not.',
  missing: 'No latency of sampling: the result holds no sampling with its batch and its number of evaluations.',
  plots: ({ measurements }) => seriesOf(measurements.filter(({ suite }) => suite === 'sample').filter(hasSteps)).map(plot),
};

function plot({ title, measurements }: Series<AtBatch & { evaluations: number }>): Plot {
  const lines = linesOf(measurements, (taken, { evaluations }) => taken / evaluations, seconds);
  return linePlot({
    name: `latency-${slug(title)}`,
    title: `${title}: time of a step`,
    description: `Time of a sampling step against batch, ${title}. ${describeLines(lines, seconds)}.`,
    yName: 'time of a step',
    write: seconds,
    logarithmic: true,
    lines,
  });
}
