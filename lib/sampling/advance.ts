import { noGrad } from '../autograd/tape.js';
import type { Device } from '../device.js';
import { tensorLike } from '../diffusion/arguments.js';
import { enqueueReverseStep, type ReverseInputs } from '../diffusion/kernels.js';
import type { Model } from '../diffusion/model.js';
import { joinVariance } from '../diffusion/predictedStart.js';
import { thresholdOf } from '../diffusion/variationalBound.js';
import { noRng, type Rng, streams } from '../random.js';
import type { Tensor } from '../tensor.js';
import type { SamplerPlan } from './plan.js';

/** What a step of a sampler reads, besides the batch. */
export interface StepInputs {
  device: Device;
  model: Model;
  plan: SamplerPlan;
  /** Scale of classifier-free guidance; 1: off. */
  guidance: number;
  denoisedFn: ((predXStart: Tensor) => Tensor) | undefined;
  /** The plan's tables, on the device. */
  table: Tensor;
  timesteps: Tensor;
  inputTable: Tensor | null;
  churnTable: Tensor | null;
  predictionTable: Tensor | null;
  /** With `denoisedFn`: what gives x_0, and `table` for it in place of the output; the latter also where rows of ε follow a bounded x_0. */
  outputTable: Tensor | null;
  denoisedTable: Tensor | null;
}

/** The tensors that a step of a batch works on. */
export interface StepState {
  x: Tensor;
  predXStart: Tensor;
  /** The evaluation, once for each sample. */
  rows: Tensor;
  /** Seed state of the evaluation. */
  seed: Tensor;
  /** Given noise, or room for what is drawn before steps. */
  noise: Tensor | null;
  /** Whether `noise` is given. */
  given: boolean;
  /** What the rows call x_0, of this evaluation and those before, where `predXStart` does not do. */
  history: readonly Tensor[];
}

/** x + factor·z. */
export function churn({ device: { native }, churnTable }: StepInputs, { x, rows, seed, noise, given }: StepState): void {
  if (!churnTable || !noise) return;
  if (!given) native.randomNormal(noise.handle, seed.handle, 0, streams.samplerNoise, 0, 0);
  native.blend(x.handle, noise.handle, rows.handle, churnTable.handle, x.handle);
}

/** x to the next step by the model's output, which with guidance has a second half: that without a class. */
export function advance(inputs: StepInputs, state: StepState, raw: Tensor): void {
  const { device, plan, guidance, table, predictionTable } = inputs;
  const { x, predXStart, rows, history, seed } = state;
  if (plan.churn?.before === 'step') churn(inputs, state);
  const half = guidance === 1 ? raw.shape : [x.shape[0] as number, ...raw.shape.slice(1)];
  const output = raw.alias(half);
  const unconditional = guidance === 1 ? null : raw.alias(half, output.size);
  const given: ReverseInputs = { output, unconditional, guidance, xt: x, t: rows, table, clip: 0, noise: null, rng: noRng };
  const ofStart = predictionTable ? { ...given, table: predictionTable } : denoised(inputs, given);
  const bound = plan.threshold && thresholdOf(ofStart, plan.threshold);
  if (predictionTable) enqueueReverseStep({ ...ofStart, bound }, { sample: device.empty(x.shape, 'f32'), predXStart });
  const noise = plan.churn ? null : state.given ? state.noise : null;
  const rng: Rng = { fields: [seed.handle, 0, streams.samplerNoise, 0, 0], advance() {} };

  // The kernel may write x_0 over that of the evaluation before, which it reads.
  const newest = predictionTable ? (history[0] as Tensor) : predXStart;
  const before = earlier(inputs, newest, history);
  const last = { ...before, clip: plan.clip, variance: plan.variance, noise, rng };
  const start = predictionTable ? ofBounded(inputs, given, predXStart) : { ...ofStart, bound };
  enqueueReverseStep({ ...start, ...last }, { sample: x, predXStart: newest });
}

/** What rows of ε start from: the output, or x_0 as it is bounded. */
function ofBounded({ plan, denoisedTable }: StepInputs, given: ReverseInputs, predXStart: Tensor): ReverseInputs {
  if (!plan.threshold || !denoisedTable) return given;
  return { ...given, output: predXStart, unconditional: null, guidance: 1, table: denoisedTable };
}

/** x_0 of the evaluations before; the older one is copied out of the way of the newest. */
function earlier({ device, plan }: StepInputs, newest: Tensor, history: readonly Tensor[]): Partial<ReverseInputs> {
  if (plan.history < 2) return plan.history === 1 ? { predXStart1: newest } : {};
  const [predXStart1, predXStart2] = history.slice(-2) as [Tensor, Tensor];
  device.native.cast(predXStart1.handle, predXStart2.handle);
  device.native.cast(newest.handle, predXStart1.handle);
  return { predXStart1, predXStart2 };
}

/** The same with what `denoisedFn` makes of x_0 in place of the output, and rows for that. */
function denoised({ device, denoisedFn, outputTable, denoisedTable, plan }: StepInputs, given: ReverseInputs): ReverseInputs {
  if (!denoisedFn || !outputTable || !denoisedTable) return given;
  const { xt, output } = given;
  const [taken, predXStart] = [device.empty(xt.shape, 'f32'), device.empty(xt.shape, 'f32')];
  enqueueReverseStep({ ...given, table: outputTable }, { sample: taken, predXStart });
  const made = noGrad(() => denoisedFn(predXStart));
  const start = tensorLike(xt, 'Sampler', "what 'denoisedFn' returns", made);
  const joined =
    plan.variance === 'fixed' ? start : joinVariance({ output: start, prediction: 'sample', bound: null, clip: 0 }, output);
  // Steps that take the output itself use no x_0 of earlier ones.
  const earlier = plan.history === 0 ? { predXStart1: taken } : {};
  return { ...given, ...earlier, output: joined, unconditional: null, guidance: 1, table: denoisedTable };
}
