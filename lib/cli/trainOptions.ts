import { type Command, Option } from 'commander';
import type { LossKind } from '../diffusion/gaussianOptions.js';
import type { Prediction, Variance } from '../diffusion/tables.js';
import { type DataOptions, dataOptions } from './data.js';
import type { JsonTarget } from './output.js';
import { choice, deviceOptions, integer, jsonOption, list, number } from './values.js';

/** What `train` is given; names are those of the options of UNet, GaussianDiffusion and Trainer. */
export interface TrainArguments extends DataOptions {
  output: string;
  resume?: true;
  steps: number;
  preview?: number | true;
  batchSize?: number;
  microBatch?: number;
  learningRate?: number;
  learningRateSchedule?: 'constant' | 'linear' | 'cosine';
  warmupSteps?: number;
  weightDecay?: number;
  gradientClip?: number;
  emaDecay?: number;
  flip?: true;
  labelDropout?: number;
  seed?: number;
  checkpointEvery?: number;
  onNonFinite?: 'throw' | 'skip';
  baseChannels?: number;
  channelMults?: number[];
  resBlocks?: number;
  attention?: number[];
  heads?: number;
  dropout?: number;
  timeEmbedding?: 'add' | 'scaleShift';
  groups?: number;
  dtype?: 'f32' | 'bf16';
  classes?: true;
  resample?: 'conv' | 'resBlock' | 'pool';
  gradientCheckpointing?: true;
  schedule: 'linear' | 'cosine' | 'scaledLinear' | 'sigmoid';
  timesteps?: number;
  prediction?: Prediction;
  variance?: Variance;
  loss?: LossKind;
  lossWeighting?: 'none' | 'minSnr';
  minSnrGamma?: number;
  timestepSampler?: 'uniform' | 'lossSecondMoment';
  rescaleTimesteps?: true;
  device: string;
  threads?: number;
  json?: JsonTarget;
}

/** What a run keeps: with --resume these come from the checkpoint. */
const training = () => [
  new Option('--batch-size <n>', 'images a step (default: 128)').argParser(integer(1)),
  new Option('--micro-batch <n>', 'images computed at once, to save memory (default: the batch)').argParser(integer(1)),
  new Option('--learning-rate <x>', 'step size of AdamW (default: 2e-4)').argParser(number(0)),
  choice('--learning-rate-schedule <kind>', 'how it falls (default: constant)', 'constant', 'linear', 'cosine'),
  new Option('--warmup-steps <n>', 'steps over which it rises (default: 0)').argParser(integer(0)),
  new Option('--weight-decay <x>', 'decoupled weight decay (default: 0)').argParser(number(0)),
  new Option('--gradient-clip <x>', 'largest gradient norm; 0: no limit (default: 1)').argParser(number(0)),
  new Option('--ema-decay <x>', 'decay of the averaged weights (default: 0.9999)').argParser(number(0)),
  new Option('--flip', 'mirror images left-right at random'),
  new Option('--label-dropout <p>', 'share of labels left out, for guided samples (default: 0)').argParser(number(0)),
  new Option('--seed <n>', 'of weights, data order, noise (default: 0)').argParser(integer(0)),
  new Option('--checkpoint-every <n>', 'steps between checkpoints (default: 1000)').argParser(integer(0)),
  choice('--on-non-finite <what>', 'at a loss that is not finite (default: throw)', 'throw', 'skip'),
];

const network = () => [
  new Option('--base-channels <n>', 'channels of the first level (default: 128)').argParser(integer(1)),
  new Option('--channel-mults <list>', 'channels of each level as multiples (default: 1,2,2,2)').argParser(list(number(0))),
  new Option('--res-blocks <n>', 'residual blocks a level (default: 2)').argParser(integer(1)),
  new Option('--attention <list>', 'image sizes with self-attention (default: 16)').argParser(list(integer(1))),
  new Option('--heads <n>', 'attention heads (default: 1)').argParser(integer(1)),
  new Option('--dropout <p>', 'dropout in the residual blocks (default: 0)').argParser(number(0)),
  choice('--time-embedding <kind>', 'how time enters the blocks (default: add)', 'add', 'scaleShift'),
  new Option('--groups <n>', 'groups of the normalisations (default: chosen from the channels)').argParser(integer(1)),
  choice('--resample <kind>', 'how sizes change (default: conv)', 'conv', 'resBlock', 'pool'),
  new Option('--gradient-checkpointing', 'compute blocks twice instead of keeping their insides: less memory'),
  choice('--dtype <type>', 'what it computes in: bf16 where the device can (default: f32)', 'f32', 'bf16'),
  new Option('--classes', 'make the model conditional on the classes of the data'),
];

const diffusion = () => [
  choice('--schedule <kind>', 'noise schedule', 'linear', 'cosine', 'scaledLinear', 'sigmoid').default('linear'),
  new Option('--timesteps <n>', 'steps of the schedule (default: 1000)').argParser(integer(1)),
  choice('--prediction <kind>', 'what the model predicts (default: epsilon)', 'epsilon', 'sample', 'v', 'previous'),
  choice('--variance <kind>', 'of a reverse step (default: fixedSmall)', 'fixedSmall', 'fixedLarge', 'learned', 'learnedRange'),
  choice('--loss <kind>', 'objective (default: mse)', 'mse', 'rescaledMse', 'kl', 'rescaledKl', 'l1', 'huber'),
  choice('--loss-weighting <kind>', 'weight of a step by its signal-to-noise ratio (default: none)', 'none', 'minSnr'),
  new Option('--min-snr-gamma <x>', 'γ of minSnr (default: 5)').argParser(number(0)),
  choice('--timestep-sampler <kind>', 'how steps are drawn (default: uniform)', 'uniform', 'lossSecondMoment'),
  new Option('--rescale-timesteps', 'give the model t·1000/T'),
];

/** Declares the options of `train`. */
export function addTrainOptions(command: Command): Command {
  const groups: [string, Option[]][] = [
    ['Data:', dataOptions('32; IDX files: as stored', '3')],
    [
      'Run:',
      [
        new Option('--output <folder>', 'for checkpoints, metrics, loss curve and the finished pipeline').makeOptionMandatory(),
        new Option('--steps <n>', 'how many steps to take, from here when resuming').argParser(integer(1)).default(10000),
        new Option('--resume', 'go on from the newest checkpoint of the output folder'),
        new Option('--preview [every]', 'sample grids in the output folder every so many steps (1000), and at the end').argParser(
          integer(1),
        ),
        ...deviceOptions(),
        jsonOption(),
      ],
    ],
    ['Training:', training()],
    ['Network:', network()],
    ['Diffusion:', diffusion()],
  ];
  for (const [heading, options] of groups) for (const option of options) command.addOption(option.helpGroup(heading));
  return command;
}

/** Flags given although the run that is resumed has settled them. */
export function settledFlags(command: Command): string[] {
  return [...training(), ...network(), ...diffusion()]
    .filter((option) => command.getOptionValueSource(option.attributeName()) === 'cli')
    .map((option) => option.long as string);
}
