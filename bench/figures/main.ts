// The figures of Nichol & Dhariwal 2021 (arXiv 2102.09672) that show what the cosine schedule and learned variances are good for, on
// real data, with two of the article's claims put to the test.
//   npm run figures [-- --data <folder of MNIST's IDX files> --quick --output <folder> --device cpu --threads 2 --samples 1000]
// Without --output and --quick the pictures go to docs/figures and the numbers to bench/results; else all to the output folder
// (out/figures/quick for --quick).
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { machine } from '../machine.js';
import { type Curve, claimOfFewSteps, claimOfFixedVariances, claimOfLastFifth, mainMeasure } from './claims.js';
import { accuracy, trainedClassifier } from './classifier.js';
import { Experiments, hybrid } from './experiments.js';
import { saveSamples, saveSkipping, saveSteps, saveStrips } from './pictures.js';
import { runProgram, valuesOf, wholeNumber } from './program.js';
import { type Quality, QualityMeasure } from './quality.js';
import { openWorkshop, root } from './workshop.js';

const values = valuesOf(
  'figures',
  'draws the figures about the cosine schedule and learned variances, and tests what their article claims',
  wholeNumber('--samples <n>', 'of a point of a curve (default: 1000; 40 for --quick)'),
);

const rounded = ({ value, error }: { value: number; error: number }) => ({
  value: Number(value.toPrecision(5)),
  error: Number(error.toPrecision(3)),
});
const numbersOf = ({ frechet, sliced }: Quality) => ({
  ...(frechet && { frechet: rounded(frechet) }),
  slicedWasserstein: rounded(sliced),
});
const curvesOf = (curves: Curve[], unit: string) =>
  curves.map(({ name, points }) => ({ name, points: points.map(({ x, quality }) => ({ [unit]: x, ...numbersOf(quality) })) }));

async function main(): Promise<void> {
  const output = values.output ?? (values.quick ? join(root, 'out', 'figures', 'quick') : undefined);
  const pictures = output ?? join(root, 'docs', 'figures');
  const before = machine(values.device);
  const started = performance.now();
  const { workshop, data } = await openWorkshop({ ...values, output });
  const { device, settings, log } = workshop;
  log(`${data.about}: ${data.train.length} images to learn from, ${data.test.length} others; device ${device.info.name}`);
  const files = await saveStrips(pictures, device, data, settings);

  const classifier = data.classes ? await trainedClassifier(workshop) : null;
  const accuracyOfOthers = classifier && (await accuracy(classifier, data.test));
  if (accuracyOfOthers) log(`the classifier names ${(100 * accuracyOfOthers).toFixed(2)} % of the other images rightly`);
  const measure = new QualityMeasure(device, settings, data, classifier);
  const experiments = new Experiments(workshop, measure);
  const floor = await measure.floor();
  log(`images not learned from: ${describe(floor)}`);

  const few = settings.steps.includes(100) && settings.T > 100 ? 100 : (settings.steps.at(-2) as number);
  const samples = await experiments.images({ objective: hybrid, variance: 'learnedRange', steps: few });
  const title = `samples with ${few} steps, learned variance, cosine schedule`;
  files.push(...(await saveSamples(pictures, samples, data.train.shape, title)));

  const subtitle = `${data.about}; ${measure.count} samples a point, bars: standard error`;
  const skipped = await experiments.skipping();
  for (const { name, points } of skipped)
    for (const { x, quality } of points) log(`${name}, ${x} left out: ${describe(quality)}`);
  const subtitleOfSkipping = `${subtitle}; ${settings.skippedOf} of ${settings.T} steps`;
  files.push(...(await saveSkipping(pictures, skipped, floor, subtitleOfSkipping)));
  const fewer = await experiments.fewerSteps();
  for (const { name, points } of fewer) for (const { x, quality } of points) log(`${name}, ${x} steps: ${describe(quality)}`);
  files.push(...(await saveSteps(pictures, fewer, floor, `${subtitle}; cosine schedule, trained with ${settings.T} steps`)));

  const claims = [
    claimOfLastFifth(skipped, 0.2),
    claimOfFewSteps(fewer, few, settings.T),
    ...[few, Math.min(...settings.steps)].map((count) => claimOfFixedVariances(fewer, count, settings.T)),
  ];
  for (const { claim, holds } of claims) log(`${holds ? 'holds' : 'DOES NOT HOLD'}: ${claim}`);
  const result = {
    benchmark: values.quick ? 'figures quick' : 'figures',
    ...before,
    threads: device.info.threads,
    secondsOfLastRun: Math.round((performance.now() - started) / 1000),
    data: { name: data.name, about: data.about, learnedFrom: data.train.length, others: data.test.length },
    settings,
    dtype: device.info.bf16 ? 'bf16' : 'f32',
    samples: measure.count,
    measure: classifier
      ? 'frechet: Fréchet distance of the whitened 64 features of a small classifier, of the samples to all images that were learned from'
      : 'slicedWasserstein: sliced Wasserstein distance of pixels, to as many images that were learned from',
    classifierAccuracy: accuracyOfOthers,
    imagesNotLearnedFrom: numbersOf(floor),
    skippedSteps: curvesOf(skipped, 'skipped'),
    samplingSteps: curvesOf(fewer, 'steps'),
    claims: claims.map(({ numbers, ...claim }) => ({
      ...claim,
      numbers: Object.fromEntries(
        Object.entries(numbers).map(([name, { relativeTo, ...number }]) => [
          name,
          { ...rounded(number), percent: Number(((100 * number.value) / relativeTo).toPrecision(3)) },
        ]),
      ),
    })),
    files,
  };
  const results = output ?? join(root, 'bench', 'results');
  await mkdir(results, { recursive: true });
  const path = join(results, output ? 'figures.json' : `figures-${before.date.slice(0, 10)}.json`);
  await writeFile(path, `${JSON.stringify(result, null, 2)}\n`);
  log(`pictures: ${pictures}, numbers: ${path}`);
  await device.close();
}

function describe(quality: Quality): string {
  const { value, error } = mainMeasure(quality);
  return `${value.toPrecision(4)} ± ${error.toPrecision(2)}`;
}

runProgram(main);
