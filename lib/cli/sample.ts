import { randomInt } from 'node:crypto';
import { type Command, Option } from 'commander';
import { OptionError } from '../errors.js';
import { saveImageGrid } from '../files/png.js';
import { openDevice } from '../openDevice.js';
import type { SamplerOptions } from '../sampling/options.js';
import { Sampler } from '../sampling/sampler.js';
import { drawImages } from './draw.js';
import { interruptible } from './interrupt.js';
import { openModel } from './model.js';
import { duration, type JsonTarget, say, writeResult } from './output.js';
import { Progress } from './progress.js';
import { deviceOptions, integer, jsonOption, list, number } from './values.js';

interface SampleArguments extends Omit<SamplerOptions, 'shape'> {
  model: string;
  output: string;
  count: number;
  first: number;
  batchSize: number;
  steps?: number;
  seed?: number;
  labels?: number[];
  guidance?: number;
  columns?: number;
  scale: number;
  dtype: 'f32' | 'bf16';
  device: string;
  threads?: number;
  json?: JsonTarget;
}

const defaultSteps = 100;

const options = () => [
  new Option(
    '--model <folder>',
    "pipeline folder, or the output folder of 'train' or one of its checkpoints",
  ).makeOptionMandatory(),
  new Option('--output <file>', 'PNG file with all samples').default('samples.png'),
  new Option('--count <n>', 'how many samples').argParser(integer(1)).default(16),
  new Option('--steps <n>', 'model evaluations a sample (default: 100, or all that the schedule has)').argParser(integer(1)),
  new Option('--method <name>', 'sampling method')
    .choices(['ddpm', 'ddim', 'dpmSolver++', 'euler', 'eulerAncestral', 'heun'])
    .default('ddpm'),
  new Option('--eta <x>', 'noise of ddim, 0 to 1').argParser(number(0)).default(0),
  new Option('--spacing <rule>', 'which steps are taken').choices(['article', 'leading', 'linspace', 'trailing', 'karras']),
  new Option('--order <n>', 'order of dpmSolver++, 1 to 3 (default: 2)').argParser(integer(1)),
  new Option('--solver-type <name>', 'second-order steps of dpmSolver++').choices(['midpoint', 'heun']),
  new Option('--s-churn <x>', 'noise added before steps of euler and heun, in all').argParser(number(0)),
  new Option('--guidance <g>', 'scale of classifier-free guidance (default: 1, off)').argParser(number(0)),
  new Option('--seed <n>', 'sample k of a seed is always the same (default: random)').argParser(integer(0)),
  new Option('--first <k>', 'number of the first sample').argParser(integer(0)).default(0),
  new Option('--labels <list>', 'classes, repeated as needed: 0,1,2').argParser(list(integer(0))),
  new Option('--batch-size <n>', 'samples computed together').argParser(integer(1)).default(64),
  new Option('--columns <n>', 'samples a row (default: square)').argParser(integer(1)),
  new Option('--scale <n>', 'pixels a side for each pixel').argParser(integer(1)).default(1),
  new Option('--dtype <type>', 'what the model computes in: bf16 where the device can').choices(['f32', 'bf16']).default('f32'),
  ...deviceOptions(),
  jsonOption(),
];

/** `diffusion-native sample` */
export function addSampleCommand(program: Command): void {
  const command = program.command('sample').description('draw images from a trained model into a PNG file');
  for (const option of options()) command.addOption(option);
  command.action((given: SampleArguments) => interruptible((signal) => sample(given, signal)));
}

async function sample(given: SampleArguments, signal: AbortSignal): Promise<void> {
  const { json, output, count, first, batchSize, columns, scale, method, guidance } = given;
  const seed = given.seed ?? randomInt(2 ** 32);
  const device = await openDevice(given.device, { threads: given.threads });
  const began = performance.now();
  try {
    const { model, diffusion } = await openModel(device, given.model, given.dtype);
    if (model.numClasses > 0 && !given.labels)
      throw new OptionError(`sample: the model has ${model.numClasses} classes: choose some by --labels, for example 0,1`);
    const steps = given.steps ?? Math.min(defaultSteps, diffusion.schedule.length);
    const { eta, spacing, order, solverType, sChurn } = given;
    const sampler = new Sampler(diffusion, model, { method, eta, spacing, steps, order, solverType, sChurn });
    using progress = new Progress('sample', Math.ceil(count / batchSize) * sampler.timesteps.length);
    const request = { count, first, seed, batchSize, labels: given.labels, guidance, signal };
    const { images, shape } = await drawImages(sampler, request, (done) => progress.update(done));
    progress.stop();
    await saveImageGrid(output, images, [count, ...shape], { columns, scale });
    const seconds = (performance.now() - began) / 1000;
    await writeResult(json, { output, count, first, seed, method, steps, shape, seconds, device: device.info.id });
    say(json, `${count} samples of seed ${seed} after ${duration(seconds)}: ${output}`);
  } finally {
    await device.close();
  }
}
