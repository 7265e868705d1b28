import { mseLossPerSample } from '../ops/reduce.js';
import type { Seed } from '../random.js';
import type { Tensor } from '../tensor.js';
import type { TrainingLosses } from './gaussianOptions.js';
import { applyNoising, type NoisingInputs } from './kernels.js';
import { callModel, isPromise, type Model, releaseOutput } from './model.js';
import type { Prediction } from './tables.js';

/** A training batch, checked; `t`, `modelTimesteps` and `labels` are freed here. */
export interface TrainingBatch extends NoisingInputs {
  modelTimesteps: Tensor;
  labels: Tensor | undefined;
  seed: Seed | undefined;
}

/**
 * Noises a batch, runs the model with `train: true` and compares its output with what it should predict (Ho et al. 2020,
 * algorithm 1, for `prediction: 'epsilon'`). A promise when the model is async.
 */
export function meanSquaredErrors(
  model: Model,
  prediction: Prediction,
  { modelTimesteps, labels, seed, ...batch }: TrainingBatch,
): TrainingLosses | Promise<TrainingLosses> {
  const { device } = batch.x0;
  const { xt, target } = device.unscoped(() => applyNoising({ ...batch, target: prediction }));
  const release = () => {
    for (const tensor of [xt, target, batch.t, modelTimesteps, labels]) tensor?.dispose();
  };
  const compare = (output: Tensor): TrainingLosses => {
    const loss = mseLossPerSample(output, target);
    releaseOutput(output);
    release();
    return { loss, mse: loss.alias() };
  };
  try {
    const output = callModel('trainingLosses', model, xt, modelTimesteps, { labels, train: true, seed });
    if (!isPromise(output)) return compare(output);
    return Promise.resolve(output)
      .then(compare)
      .catch((error) => {
        release();
        throw error;
      });
  } catch (error) {
    release();
    throw error;
  }
}
