// The networks of the figures, each trained once and then read from its folder.
import { existsSync } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Device, GaussianDiffusion, type ImageDataset, NoiseSchedule, Trainer, UNet } from 'diffusion-native';
import type { Settings } from './settings.js';

/** Schedule and objective: the squared error with a fixed variance, or the hybrid objective with a learned one. */
export interface Objective {
  schedule: 'linear' | 'cosine';
  learned: boolean;
}

/** Where networks are trained, and what on. */
export interface Workshop {
  device: Device;
  data: ImageDataset;
  settings: Settings;
  /** Holds what has been trained and drawn so far. */
  folder: string;
  log: (line: string) => void;
}

export const nameOf = ({ schedule, learned }: Objective): string => `${schedule}-${learned ? 'learned' : 'fixed'}`;

export const scheduleOf = ({ schedule }: Pick<Objective, 'schedule'>, T: number): NoiseSchedule =>
  schedule === 'linear' ? NoiseSchedule.linear({ timesteps: T, rescaled: true }) : NoiseSchedule.cosine({ timesteps: T });

/** The averaged weights after training. A run that was interrupted goes on from its last checkpoint. */
export async function trainedModel(workshop: Workshop, objective: Objective): Promise<UNet> {
  const { device, folder, log } = workshop;
  const dtype = device.info.bf16 ? 'bf16' : 'f32';
  const finished = join(folder, `model-${nameOf(objective)}`);
  if (!existsSync(finished)) {
    const started = performance.now();
    using trainer = await startOrResume(workshop, objective, dtype);
    const { steps } = workshop.settings.training;
    let smooth: number | undefined;
    for await (const { step, loss } of trainer.run({ steps: steps - trainer.step })) {
      smooth = smooth === undefined ? loss : 0.99 * smooth + 0.01 * loss;
      if (step % 500 === 0) log(`${nameOf(objective)}: step ${step} of ${steps}, loss ${smooth.toFixed(4)}`);
    }
    await trainer.ema.save(`${finished}.new`);
    await rename(`${finished}.new`, finished);
    await rm(checkpoints(folder, objective), { recursive: true, force: true });
    log(`${nameOf(objective)}: trained, ${((performance.now() - started) / 1000).toFixed(0)} s`);
  }
  return UNet.load(device, finished, { dtype });
}

const checkpoints = (folder: string, objective: Objective) => join(folder, `training-${nameOf(objective)}`);

async function startOrResume(
  { device, data, settings, folder }: Workshop,
  objective: Objective,
  dtype: 'bf16' | 'f32',
): Promise<Trainer> {
  const { network, training, size, T } = settings;
  const directory = checkpoints(folder, objective);
  if (existsSync(join(directory, 'latest'))) return Trainer.resume(directory, { device, data });
  const model = new UNet(device, {
    ...network,
    imageSize: size,
    inChannels: data.channels,
    outChannels: data.channels * (objective.learned ? 2 : 1),
    seed: training.seed,
    dtype,
  });
  const diffusion = new GaussianDiffusion(device, scheduleOf(objective, T), {
    variance: objective.learned ? 'learnedRange' : 'fixedSmall',
    loss: objective.learned ? 'rescaledMse' : 'mse',
  });
  const { steps, ...rest } = training;
  return new Trainer({
    ...{ model, diffusion, data, directory, ...rest },
    totalSteps: steps,
    learningRateSchedule: 'cosine',
    checkpointEvery: 1000,
  });
}
