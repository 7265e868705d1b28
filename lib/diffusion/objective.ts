import { mul } from '../ops/elementwise.js';
import { lossPerSample } from '../ops/reduce.js';
import type { Seed } from '../random.js';
import type { Tensor } from '../tensor.js';
import type { TrainingLosses } from './gaussianOptions.js';
import { applyNoising, blend, gather, type NoisingInputs } from './kernels.js';
import { callModel, isPromise, type Model, releaseOutput } from './model.js';
import type { Process } from './process.js';

/** A training batch, checked; `t`, `modelTimesteps` and `labels` are freed here. */
export interface TrainingBatch extends NoisingInputs {
  modelTimesteps: Tensor;
  labels: Tensor | undefined;
  seed: Seed | undefined;
}

/** What the model's output is compared with. */
interface Noised {
  xt: Tensor;
  /** What the model should predict. */
  target: Tensor;
}

/**
 * Noises a batch, runs the model with `train: true` and compares its output with what it should predict (Ho et al. 2020, algorithm 1;
 * Nichol & Dhariwal 2021, section 3.1). A promise when the model is async.
 */
export function objective(
  process: Process,
  model: Model,
  { modelTimesteps, labels, seed, ...batch }: TrainingBatch,
): TrainingLosses | Promise<TrainingLosses> {
  const { device, variance } = process;
  const noised = device.unscoped(() => noiseBatch(process, batch));
  const release = () => {
    for (const tensor of [...Object.values(noised), batch.t, modelTimesteps, labels]) tensor?.dispose();
  };
  const compare = (output: Tensor): TrainingLosses => {
    const losses = device.scope(() => compareOutput(process, output, noised, batch.t));
    releaseOutput(output);
    release();
    return losses;
  };
  try {
    const output = callModel('trainingLosses', model, noised.xt, modelTimesteps, { labels, train: true, seed, variance });
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

function noiseBatch({ prediction, tables }: Process, batch: NoisingInputs): Noised {
  if (prediction !== 'previous') return applyNoising({ ...batch, target: prediction });
  const { xt, x0 } = applyNoising({ ...batch, keepStart: true });
  const target = blend(x0, xt, batch.t, tables.posterior());
  x0.dispose();
  return { xt, target };
}

function compareOutput({ loss, lossWeighting, minSnrGamma, tables }: Process, output: Tensor, { target }: Noised, t: Tensor) {
  const plain = lossPerSample('trainingLosses', output, target, loss);
  const weighted = lossWeighting === 'none' ? plain : mul(plain, gather(tables.minSnr(minSnrGamma), t));
  return { loss: weighted, ...(loss === 'mse' && { mse: plain.alias() }) };
}
