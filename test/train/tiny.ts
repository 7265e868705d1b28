import { createHash } from 'node:crypto';
import type { Device } from '../../lib/index.js';
import { GaussianDiffusion, ImageDataset, NoiseSchedule, Trainer, type TrainerOptions, UNet } from '../../lib/index.js';

/** Seven images 8×8 of smooth waves, in two classes. */
export function tinyData(count = 7, seed = 0): ImageDataset {
  const images = Uint8Array.from({ length: count * 8 * 8 * 3 }, (_, i) => 128 + 100 * Math.sin(i * 0.13 * (1 + (i >> 8)) + seed));
  return ImageDataset.tensor(images, [count, 8, 8, 3], { labels: Array.from({ length: count }, (_, i) => i % 2) });
}

export function tinyModel(device: Device, options: object = {}): UNet {
  return new UNet(device, {
    imageSize: 8,
    baseChannels: 8,
    channelMults: [1, 2],
    resBlocks: 1,
    attentionResolutions: [4],
    seed: 1,
    ...options,
  });
}

/** A trainer of a tiny model on tiny data. */
export function tinyTrainer(device: Device, options: Partial<TrainerOptions> = {}): Trainer {
  return new Trainer({
    model: options.model ?? tinyModel(device, { dropout: 0.1 }),
    diffusion: options.diffusion ?? new GaussianDiffusion(device, NoiseSchedule.linear({ timesteps: 50 })),
    data: tinyData(),
    batchSize: 4,
    learningRate: 1e-3,
    flip: true,
    seed: 5,
    ...options,
  });
}

/** Losses and norms of so many steps. */
export async function take(trainer: Trainer, steps: number): Promise<[loss: number, gradientNorm: number][]> {
  const taken: [number, number][] = [];
  for await (const { loss, gradientNorm } of trainer.run({ steps })) taken.push([loss, gradientNorm]);
  return taken;
}

/** All weights and all averages. */
export async function weightsOf(trainer: Trainer): Promise<{ weights: Float32Array; averages: Float32Array }> {
  const [weights, averages] = await Promise.all([trainer.model.store.flatValues.read(), trainer.ema.store.flatValues.read()]);
  return { weights: weights as Float32Array, averages: averages as Float32Array };
}

/** Hashes of the bits of all weights and all averages: what differs is not worth a listing of thousands of numbers. */
export async function bitsOf(trainer: Trainer): Promise<{ weights: string; averages: string }> {
  const { weights, averages } = await weightsOf(trainer);
  return { weights: hashOf(weights), averages: hashOf(averages) };
}

export function hashOf(bytes: Float32Array | Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
