// The networks that the suites measure: those of the literature, and one that an emulator gets through.
import type { UNetOptions, Variance } from 'diffusion-native';

/** A network with the process that it is trained for. */
export interface Network {
  /** As results name it. */
  name: string;
  unet: UNetOptions;
  variance: Variance;
  /** Images a step, or drawn at once, where a GPU computes. */
  gpuBatch: number;
  /** The same where a CPU does. */
  cpuBatch: number;
}

/** DDPM's network for CIFAR-10 (Ho et al. 2020): 35,746,307 parameters. */
export const cifar10: Network = {
  name: 'cifar10',
  unet: {
    imageSize: 32,
    baseChannels: 128,
    channelMults: [1, 2, 2, 2],
    resBlocks: 2,
    attentionResolutions: [16],
    groups: 32,
    dropout: 0.1,
  },
  variance: 'fixedLarge',
  gpuBatch: 128,
  cpuBatch: 4,
};

/** improved-diffusion's network for ImageNet-64 (Nichol & Dhariwal 2021), which learns its variance: 121,063,942 parameters. */
export const imagenet64: Network = {
  name: 'imagenet64',
  unet: {
    imageSize: 64,
    outChannels: 6,
    baseChannels: 128,
    channelMults: [1, 2, 3, 4],
    resBlocks: 3,
    attentionResolutions: [16, 8],
    heads: 4,
    groups: 32,
    timeEmbedding: 'scaleShift',
  },
  variance: 'learnedRange',
  gpuBatch: 64,
  cpuBatch: 1,
};

/** Has all that the others have, in small. */
export const tiny: Network = {
  name: 'tiny',
  unet: {
    imageSize: 8,
    baseChannels: 8,
    channelMults: [1, 2],
    resBlocks: 1,
    attentionResolutions: [4],
    groups: 4,
    dropout: 0.1,
  },
  variance: 'fixedLarge',
  gpuBatch: 2,
  cpuBatch: 2,
};
