// Whether a learned variance lowers the bits per dimension (Nichol & Dhariwal 2021, arXiv 2102.09672, section 3.1): two networks of
// one seed, one training and one cosine schedule, one with twice the channels out and the hybrid objective, one with a fixed variance.
//   npm run bench:learned-variance [-- --data <folder of MNIST's IDX files> --images 128 --quick --output <folder> --device cpu --threads 2]
// Exit status 1 where it does not. It shares the networks with `npm run figures`.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { bitsOf } from './figures/bits.js';
import { cosine, Experiments, hybrid } from './figures/experiments.js';
import { runProgram, valuesOf, wholeNumber } from './figures/program.js';
import { QualityMeasure } from './figures/quality.js';
import { openWorkshop, root } from './figures/workshop.js';
import { machine } from './machine.js';

const values = valuesOf<{ images?: number }>(
  'bench:learned-variance',
  'compares the bits per dimension of a learned variance and of fixed ones; exit status 1 where the learned one is not better',
  wholeNumber('--images <n>', 'whose bits are counted (default: 128; 8 for --quick)'),
);

/** Mean of some values, and its standard error. */
function meanOf(list: readonly number[]) {
  const mean = list.reduce((sum, value) => sum + value, 0) / list.length;
  const squares = list.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  const error = list.length > 1 ? Math.sqrt(squares / (list.length - 1) / list.length) : 0;
  return { value: Number(mean.toPrecision(6)), error: Number(error.toPrecision(3)) };
}

async function main(): Promise<void> {
  const output = values.output ?? (values.quick ? join(root, 'out', 'figures', 'quick') : undefined);
  const before = machine(values.device);
  const started = performance.now();
  const { workshop, data } = await openWorkshop({ ...values, output });
  const { device, settings, log } = workshop;
  const count = Math.min(data.test.length, values.images ?? (values.quick ? 8 : 128));
  const experiments = new Experiments(workshop, new QualityMeasure(device, settings, data, null));
  const kinds = [
    { objective: hybrid, variance: 'learnedRange' },
    { objective: cosine, variance: 'fixedSmall' },
    { objective: cosine, variance: 'fixedLarge' },
  ] as const;
  const measured = [];
  for (const kind of kinds) {
    const bits = await bitsOf(workshop, data.test, count, kind, () => experiments.model(kind.objective));
    measured.push({ variance: kind.variance, bits });
  }
  const [learned, ...fixed] = measured as [(typeof measured)[0], ...typeof measured];
  const variances = Object.fromEntries(
    measured.map(({ variance, bits: { total, prior, decoder } }) => [
      variance,
      { bitsPerDimension: meanOf(total), prior: meanOf(prior), lastStep: meanOf(decoder) },
    ]),
  );
  // Of the same images with the same noise: the error of the difference, not of both.
  const lowerBy = Object.fromEntries(
    fixed.map(({ variance, bits }) => [
      variance,
      meanOf(bits.total.map((value, i) => value - (learned.bits.total[i] as number))),
    ]),
  );
  const holds = Object.values(lowerBy).every(({ value, error }) => value > 2 * error);
  for (const [variance, { bitsPerDimension: bits }] of Object.entries(variances))
    log(`${variance}: ${bits.value} ± ${bits.error} bits/dim`);
  log(`learned is ${holds ? 'lower' : 'NOT lower'} by more than two standard errors than each fixed variance`);
  const result = {
    benchmark: values.quick ? 'learned-variance quick' : 'learned-variance',
    ...before,
    threads: device.info.threads,
    secondsOfLastRun: Math.round((performance.now() - started) / 1000),
    data: { name: data.name, about: data.about, learnedFrom: data.train.length, others: data.test.length },
    settings: { size: settings.size, network: settings.network, training: settings.training, schedule: 'cosine', T: settings.T },
    dtype: device.info.bf16 ? 'bf16' : 'f32',
    images: count,
    evaluationsPerImage: settings.T,
    variances,
    lowerBy,
    claim: 'A learned variance (hybrid objective) has fewer bits/dim than each fixed one, on images not learned from',
    test: 'The mean difference over the images, each with the same noise, is above two standard errors',
    holds,
  };
  const results = output ?? join(root, 'bench', 'results');
  await mkdir(results, { recursive: true });
  const path = join(results, output ? 'learned-variance.json' : `learned-variance-${before.date.slice(0, 10)}.json`);
  await writeFile(path, `${JSON.stringify(result, null, 2)}\n`);
  log(`numbers: ${path}`);
  if (!holds) process.exitCode = 1;
  await device.close();
}

runProgram(main);
