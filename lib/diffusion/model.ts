import { Parameter } from '../autograd/parameter.js';
import { withTaping } from '../autograd/tape.js';
import type { Device } from '../device.js';
import { DeviceMismatchError, OptionError } from '../errors.js';
import { asTensor } from '../ops/check.js';
import { show } from '../options.js';
import type { Seed } from '../random.js';
import type { Tensor } from '../tensor.js';
import { expectOutput } from './process.js';
import type { Variance } from './tables.js';

/** How a network is run: class labels i32 [N], whether dropout and the tape are on, and the seed of the dropout. */
export interface ForwardOptions {
  /** i32 [N] */
  labels?: Tensor;
  /** Whether dropout acts and gradients are recorded. */
  train?: boolean;
  /** Of the dropout. */
  seed?: Seed;
}

/** A network of this package (`UNet`): `forward` maps xt [N, H, W, C] and the steps t [N] to its prediction. */
export interface Network {
  /** Where its weights are. */
  readonly device: Device;
  /** The prediction, f32 in the shape of xt; for a learned variance in twice the channels. */
  forward(xt: Tensor, t: Tensor, options?: ForwardOptions): Tensor;
  /** Called before a recording of `forward`: what could be computed once for all its runs. @internal */
  refreshWeights?(): void;
}

/**
 * One's own model: gets xt [N, H, W, C], the original steps t [N] (i32, or f32 when they are rescaled) and the labels, and returns
 * its prediction in the shape of xt, or, for a process that learns its variance, in twice the channels. What it is handed lives until
 * its promise settles; what it returns passes to the caller.
 */
export type ModelFunction<Result extends Tensor | Promise<Tensor> = Tensor | Promise<Tensor>> = (
  xt: Tensor,
  t: Tensor,
  extra: { labels?: Tensor },
) => Result;

/** How `callModel` runs a model. */
export interface CallOptions extends ForwardOptions {
  /** Of the process: where it is learned, the output has twice the channels; 'fixedSmall'. */
  variance?: Variance;
}

/** What predicts: a network, or a function. */
export type Model = Network | ModelFunction;

/** Throws OptionError unless this can be called as a model, DeviceMismatchError when it is a network on another device. */
export function checkModel(operation: string, model: unknown, device: Device): asserts model is Model {
  if (typeof model === 'function') return;
  if (model === null || typeof model !== 'object' || typeof (model as Network).forward !== 'function')
    throw new OptionError(`${operation}: model must be a UNet or a function (xt, t, extra) => Tensor, got ${show(model)}`);
  const other = (model as Network).device;
  if (other !== device)
    throw new DeviceMismatchError(`${operation}: the model is on another device ('${other?.info?.id}') than the process`);
}

/**
 * The model's prediction for xt at the steps it knows; a promise when it is an async function. Without `train` nothing that a
 * function does before its first `await` is taped. A function gets its own handles, so that no scope frees them while it waits.
 * @throws ShapeError, DTypeError, DeviceMismatchError or OptionError, naming 'model output', when it returns anything but an f32
 * tensor on its device, of xt's shape or, for a learned variance, of twice its channels (a rejection when it is async).
 */
export function callModel(
  operation: string,
  model: Model,
  xt: Tensor,
  t: Tensor,
  { labels, train = false, seed, variance = 'fixedSmall' }: CallOptions = {},
): Tensor | Promise<Tensor> {
  if (typeof model !== 'function') {
    const output = model.forward(xt, t, { train, ...(labels && { labels }), ...(seed !== undefined && { seed }) });
    return checkOutput(operation, output, xt, variance);
  }
  const { shape, device } = xt;
  const handed = device.unscoped(() => ({ xt: xt.alias(), t: t.alias(), labels: labels?.alias() }));
  const release = (output?: Tensor) => {
    for (const tensor of Object.values(handed)) if (tensor !== output) tensor?.dispose();
  };
  const finish = (output: Tensor) => {
    release(output);
    return checkOutput(operation, output, { shape, device }, variance);
  };
  try {
    const call = () => model(handed.xt, handed.t, handed.labels ? { labels: handed.labels } : {});
    const result = train ? call() : untaped(call);
    if (!isPromise(result)) return finish(result);
    return Promise.resolve(result).then(finish, (error) => {
      release();
      throw error;
    });
  } catch (error) {
    release();
    throw error;
  }
}

/** Frees a prediction that has been used; a parameter that a function returned as it is stays. */
export function releaseOutput(output: Tensor): void {
  if (!(output.edge instanceof Parameter)) output.dispose();
}

/** Whether a model or a computation on its prediction must be awaited. */
export function isPromise<T>(value: T | PromiseLike<T>): value is PromiseLike<T> {
  return typeof (value as PromiseLike<T> | null)?.then === 'function';
}

/** As `noGrad`, but lets a promise through: only the part before its first `await` is covered. */
function untaped<T>(body: () => T): T {
  const box: T[] = [];
  withTaping(false, () => {
    box.push(body());
  });
  return box[0] as T;
}

function checkOutput(
  operation: string,
  output: Tensor,
  { shape, device }: Pick<Tensor, 'shape' | 'device'>,
  variance: Variance,
): Tensor {
  const tensor = asTensor(operation, 'model output', output);
  if (tensor.device !== device) throw new DeviceMismatchError(`${operation}: model output is on another device than xt`);
  expectOutput(operation, 'model output', tensor, shape, variance);
  return tensor;
}
