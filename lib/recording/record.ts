import * as v from 'valibot';
import { OptionError } from '../errors.js';
import { integer, parseOptions, show, signal } from '../options.js';
import { Trainer, type TrainingProgress } from '../training/trainer.js';
import { CurveFiles, clearHalfWritten } from './curveFiles.js';
import { LossCurve } from './lossCurve.js';
import { MetricsFile, type RunMetrics } from './metrics.js';
import { Preview, type PreviewOptions, previewFolder } from './preview.js';

/** Options of `recordRun`. */
export interface RecordOptions {
  /** How many steps to take. */
  steps: number;
  /** Aborts between two steps, or between two evaluations of a preview. */
  signal?: AbortSignal;
  /** Sample grids every so many steps, and after the last one; left out, none are drawn. */
  preview?: number | PreviewOptions;
  /** Steps between two drawings of the loss curve; more where drawing would take over 5 % of the time. Default 100. */
  curveEvery?: number;
}

/** What `recordRun` tells of each step. */
export interface RecordedStep extends TrainingProgress {
  /** Step size of this update. */
  learningRate: number;
  /** Seconds of training until this step was done, those before a resumption included. */
  seconds: number;
}

const defaultEvery = 1000;
const previewSchema = v.strictObject({
  every: v.optional(integer(1), defaultEvery),
  count: v.optional(integer(1, 65536)),
  steps: v.optional(integer(1)),
  seed: v.optional(integer(0)),
  labels: v.optional(v.array(integer(0), 'an array of integers')),
});
const schema = v.strictObject({
  steps: integer(0),
  signal: v.optional(signal()),
  preview: v.optional(v.union([integer(1), v.record(v.string(), v.unknown())], 'an integer of at least 1 or an object')),
  curveEvery: v.optional(integer(1), 100),
});

/**
 * Runs a trainer as `trainer.run` does, and keeps what shows how it goes in the trainer's `directory`:
 *
 * - `metrics.jsonl`: a line of {@link RunMetrics} a step. What lies beyond the trainer's step is cut off first, so that a run that
 *   was killed and resumed from a checkpoint holds each step once. {@link readMetrics} reads it.
 * - `loss.svg` and `loss.png`: the loss curve, over the whole run.
 * - with `preview`, `previews/step-<n>.png`: samples from the averaged weights after n steps, of one seed.
 *
 * Files are written in the background; training waits only for previews, which need the device.
 * @throws OptionError at once. The iteration throws what `trainer.run` does, and FileFormatError for a file that cannot be written.
 */
export function recordRun(trainer: Trainer, given: RecordOptions): AsyncGenerator<RecordedStep, void, undefined> {
  const owner = 'recordRun';
  if (!(trainer instanceof Trainer)) throw new OptionError(`${owner}: trainer must be a Trainer, got ${show(trainer)}`);
  const { preview, ...options } = parseOptions(owner, schema, given);
  const { directory } = trainer;
  if (directory === null) throw new OptionError(`${owner}: give the trainer option 'directory'`);
  const previews =
    preview === undefined
      ? null
      : (parseOptions(
          `${owner}, option 'preview'`,
          previewSchema,
          typeof preview === 'number' ? { every: preview } : preview,
        ) as PreviewOptions);
  const classes = trainer.model.numClasses;
  const { count = 16, labels } = previews ?? {};
  if (labels && (labels.length !== count || labels.some((label) => label >= classes)))
    throw new OptionError(`${owner}: option 'preview.labels' must be ${count} classes below ${classes}, got ${show(labels)}`);
  return record(trainer, directory, { ...options, previews });
}

interface CheckedOptions {
  steps: number;
  signal?: AbortSignal;
  curveEvery: number;
  previews: PreviewOptions | null;
}

async function* record(
  trainer: Trainer,
  directory: string,
  { steps, signal, curveEvery, previews }: CheckedOptions,
): AsyncGenerator<RecordedStep, void, undefined> {
  if (trainer.observer) throw new OptionError('recordRun: another run of this trainer is being recorded');
  const curve = new LossCurve();
  let before = 0;
  const noted: RecordedStep[] = [];
  trainer.observer = () => {}; // taken, from now on
  const end = trainer.step + steps;
  const files = new CurveFiles(directory, curve);
  const preview = previews && new Preview(trainer, directory, previews);
  let metrics: MetricsFile | null = null;
  try {
    const file = await MetricsFile.open(directory, trainer.step, ({ step, loss, seconds }) => {
      curve.add(step, loss);
      before = seconds;
    });
    metrics = file;
    await clearHalfWritten(directory, previewFolder);
    const began = performance.now();
    trainer.observer = (progress) => {
      const seconds = before + (performance.now() - began) / 1000;
      const line = { ...progress, learningRate: trainer.learningRateOf(progress.step), seconds };
      noted.push(line);
      curve.add(line.step, line.loss);
      file.append(inOrder(line));
    };
    let drawn = trainer.step;
    for await (const { step } of trainer.run({ steps, signal })) {
      if (step % curveEvery === 0) files.update();
      // A step is told of while the next one runs: the weights are those of the newest, which decides.
      const newest = trainer.step;
      if (preview && newest !== drawn && (newest % (previews?.every ?? defaultEvery) === 0 || newest === end)) {
        drawn = newest;
        await preview.draw(signal);
      }
      yield noted.shift() as RecordedStep;
    }
  } finally {
    trainer.observer = null;
    preview?.dispose();
    await files.settled();
    await metrics?.close();
    if (curve.last > 0) await files.finish();
  }
}

/** The columns in the order of the documentation. */
function inOrder({ step, loss, gradientNorm, learningRate, imagesPerSecond, seconds }: RecordedStep): RunMetrics {
  return { step, loss, gradientNorm, learningRate, imagesPerSecond, seconds };
}
