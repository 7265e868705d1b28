import type { Device } from '../device.js';
import { type Labels, labelsOf, tensorOn } from '../diffusion/arguments.js';
import type { Model } from '../diffusion/model.js';
import { OptionError, ShapeError } from '../errors.js';
import { expectShape } from '../ops/check.js';
import { parseOptions } from '../options.js';
import { Tensor } from '../tensor.js';
import { type SampleOptions, sampleSchema, stepsSchema } from './options.js';
import type { SamplerPlan } from './plan.js';
import type { SampleSources } from './sampleBatch.js';
import { checkSeed } from './seeds.js';

/** The checked options of one call. */
export interface SampleRequest {
  operation: 'sample' | 'steps';
  count: number;
  first: number;
  batchSize: number;
  /** [height, width, channels]. */
  shape: readonly number[];
  seed: number | Tensor | undefined;
  labels: Labels | undefined;
  guidance: number;
  initial: Tensor | undefined;
  noises: readonly Tensor[] | undefined;
  signal: AbortSignal | undefined;
}

/** What a network says of itself, where it is one of this package's. */
interface NetworkFacts {
  imageSize?: readonly number[] | null;
  inChannels?: number;
  numClasses?: number;
}

const largestDefaultBatch = 64;

/** Throws OptionError, ShapeError, DTypeError, DeviceMismatchError or DisposedError before anything runs. */
export function checkRequest(
  operation: 'sample' | 'steps',
  { device, model, plan, shape }: { device: Device; model: Model; plan: SamplerPlan; shape: readonly number[] | undefined },
  options: SampleOptions | undefined,
): SampleRequest {
  const given = parseOptions(operation, operation === 'sample' ? sampleSchema : stepsSchema, options) as SampleOptions & {
    first: number;
    guidance: number;
  };
  const { first, seed, labels, guidance, signal } = given;
  checkSeed(operation, device, seed);
  const initial = given.initial === undefined ? undefined : tensorOn(device, operation, "option 'initial'", given.initial);
  if (initial && initial.shape.length !== 4)
    throw new ShapeError(
      `${operation}: option 'initial' must have shape [count, height, width, channels], got [${initial.shape}]`,
    );
  const count = given.count ?? initial?.shape[0] ?? 1;
  if (first + count > 2 ** 32) throw new OptionError(`${operation}: options 'first' + 'count' must be at most 4294967296`);
  const own = shape ?? initial?.shape.slice(1) ?? networkShape(model);
  if (!own)
    throw new OptionError(`${operation}: the model has no image size: give the sampler option 'shape', or option 'initial'`);
  if (initial) expectShape(operation, "option 'initial'", initial, [count, ...own]);
  const noises = given.noises?.map((noise, k) => {
    const tensor = tensorOn(device, operation, `noises[${k}]`, noise);
    expectShape(operation, `noises[${k}]`, tensor, [count, ...own]);
    return tensor;
  });
  if (noises && noises.length < plan.draws)
    throw new OptionError(
      `${operation}: option 'noises' must hold ${plan.draws} tensors, one for each draw, got ${noises.length}`,
    );
  checkLabels(operation, device, model, labels, count);
  if (guidance !== 1 && labels === undefined)
    throw new OptionError(`${operation}: option 'guidance' needs option 'labels': it is guided away from no class`);
  const batchSize = operation === 'steps' ? count : Math.min(count, given.batchSize ?? largestDefaultBatch);
  return { operation, count, first, batchSize, shape: own, seed, labels, guidance, initial, noises, signal };
}

/** Handles of one's own to the tensors of a request, so that their owner may dispose them at once. */
export function holdSources(
  device: Device,
  { operation, count, labels, initial, noises }: SampleRequest,
): SampleSources & Disposable {
  return device.unscoped(() => {
    const held = {
      labels: labels === undefined ? null : labelsOf(device, operation, labels, count),
      initial: initial?.alias() ?? null,
      noises: noises && noises.length > 0 ? noises.map((noise) => noise.alias()) : null,
    };
    const dispose = () => {
      for (const tensor of [held.labels, held.initial, ...(held.noises ?? [])]) tensor?.dispose();
    };
    return { ...held, [Symbol.dispose]: dispose };
  });
}

function networkShape(model: Model): number[] | undefined {
  const { imageSize, inChannels } = model as NetworkFacts;
  return imageSize && inChannels !== undefined ? [...imageSize, inChannels] : undefined;
}

function checkLabels(operation: string, device: Device, model: Model, labels: unknown, count: number): void {
  const { numClasses } = model as NetworkFacts;
  if (labels !== undefined) {
    labelsOf(device, operation, labels as Labels, count).dispose(); // checks them
    if (numClasses === 0) throw new OptionError(`${operation}: option 'labels' was given, but the model has no classes`);
    if (labels instanceof Tensor || numClasses === undefined) return; // their values are checked on the device
    const wrong = [...(labels as Iterable<number>)].find((label) => label >= numClasses);
    if (wrong !== undefined)
      throw new OptionError(`${operation}: option 'labels' must hold classes below ${numClasses}, got ${wrong}`);
  } else if (numClasses) {
    throw new OptionError(`${operation}: option 'labels' is required: the model is conditional on ${numClasses} classes`);
  }
}
