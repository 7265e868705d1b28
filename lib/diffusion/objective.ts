import { add, mul, scale } from '../ops/elementwise.js';
import { lossPerSample } from '../ops/reduce.js';
import type { Seed } from '../random.js';
import type { Tensor } from '../tensor.js';
import type { LossKind, TrainingLosses } from './gaussianOptions.js';
import { applyNoising, blend, gather, type NoisingInputs } from './kernels.js';
import { callModel, isPromise, type Model, releaseOutput } from './model.js';
import type { Process } from './process.js';
import { isLearned, varianceKind } from './tables.js';
import { variationalBound } from './variationalBound.js';

/** A training batch, checked; `t`, `modelTimesteps` and `labels` are freed here. */
export interface TrainingBatch extends NoisingInputs {
  modelTimesteps: Tensor;
  labels: Tensor | undefined;
  seed: Seed | undefined;
}

/** What the model's output is compared with. */
interface Noised {
  xt: Tensor;
  /** What the model should predict; not for 'kl'. */
  target: Tensor | null;
  /** x_0 as f32, mirrored where the batch is; only where the loss needs it. */
  x0: Tensor | null;
}

/** The error of the prediction in each objective; null: the bound alone. */
const errors: Record<LossKind, 'mse' | 'l1' | 'huber' | null> = {
  mse: 'mse',
  rescaledMse: 'mse',
  l1: 'l1',
  huber: 'huber',
  kl: null,
  rescaledKl: null,
};

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

function noiseBatch({ loss, prediction, variance, tables }: Process, batch: NoisingInputs): Noised {
  const isCompared = errors[loss] !== null;
  if (!isCompared) return { target: null, ...applyNoising({ ...batch, keepStart: true }) };
  if (prediction === 'previous') {
    const { xt, x0 } = applyNoising({ ...batch, keepStart: true });
    return { xt, target: blend(x0, xt, batch.t, tables.posterior()), x0 };
  }
  if (isLearned(variance)) return applyNoising({ ...batch, target: prediction, keepStart: true });
  return { x0: null, ...applyNoising({ ...batch, target: prediction }) };
}

function compareOutput(process: Process, output: Tensor, { xt, target, x0 }: Noised, t: Tensor): TrainingLosses {
  const { loss, lossWeighting, minSnrGamma, schedule, tables } = process;
  const error = errors[loss];
  const kind = varianceKind(process.variance);
  const bound = (detachMean: boolean) =>
    variationalBound(output, { x0: x0 as Tensor, xt, t, table: tables.bound(), variance: kind, clip: 0, detachMean });
  if (!target || !error) {
    const vb = loss === 'kl' ? bound(false) : scale(bound(false), schedule.length);
    return { loss: vb, vb: vb.alias() };
  }
  const plain = lossPerSample('trainingLosses', output, target, error);
  const weighted = lossWeighting === 'none' ? plain : mul(plain, gather(tables.minSnr(minSnrGamma), t));
  const mse = error === 'mse' ? { mse: plain.alias() } : {};
  if (!isLearned(process.variance)) return { loss: weighted, ...mse };
  // With T/1000 the sum is L_simple + 0.001·L_vlb, whatever T.
  const vb = loss === 'mse' ? bound(true) : scale(bound(true), schedule.length / 1000);
  return { loss: add(weighted, vb), ...mse, vb: vb.alias() };
}
