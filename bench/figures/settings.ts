// How much is trained and drawn: all of it, or as little as shows that everything works.
import type { UNetOptions } from 'diffusion-native';

/** The counts of a run of the figures. */
export interface Settings {
  /** Height and width that the images are brought to. */
  size: number;
  /** Of the networks that predict noise. */
  network: Pick<UNetOptions, 'baseChannels' | 'channelMults' | 'resBlocks' | 'groups' | 'timeEmbedding' | 'attentionResolutions'>;
  training: { steps: number; batchSize: number; learningRate: number; warmupSteps: number; emaDecay: number; seed: number };
  classifier: { steps: number; batchSize: number; learningRate: number; seed: number };
  /** Steps of the diffusion. */
  T: number;
  /** Samples of every point, and into how many groups they are cut for its error. */
  samples: number;
  groups: number;
  /** Samples that go through the model together. */
  batchSize: number;
  /** Random directions of the sliced Wasserstein distance. */
  projections: number;
  /** Steps of the respaced process whose first part is left out, and the shares of it. */
  skippedOf: number;
  skipped: readonly number[];
  /** Numbers of sampling steps. */
  steps: readonly number[];
}

export const full: Settings = {
  size: 16,
  network: {
    baseChannels: 32,
    channelMults: [1, 2, 2],
    resBlocks: 1,
    groups: 8,
    timeEmbedding: 'scaleShift',
    attentionResolutions: [4],
  },
  training: { steps: 6000, batchSize: 64, learningRate: 1e-3, warmupSteps: 200, emaDecay: 0.999, seed: 1 },
  classifier: { steps: 2000, batchSize: 128, learningRate: 2e-3, seed: 1 },
  T: 1000,
  samples: 1000,
  groups: 25,
  batchSize: 250,
  projections: 256,
  skippedOf: 100,
  skipped: [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
  steps: [5, 10, 25, 50, 100, 250, 1000],
};

export const quick: Settings = {
  ...full,
  size: 28, // as MNIST is stored: nothing has to be resampled
  network: { ...full.network, baseChannels: 8, groups: 4, channelMults: [1, 2] },
  training: { ...full.training, steps: 20, batchSize: 16, warmupSteps: 5 },
  classifier: { ...full.classifier, steps: 40, batchSize: 32 },
  T: 100,
  samples: 40,
  groups: 4,
  batchSize: 40,
  projections: 16,
  skippedOf: 20,
  skipped: [0, 0.2, 0.5],
  steps: [5, 10, 100],
};
