import type { Device } from '../device.js';
import { ShapeError } from '../errors.js';
import type { DType } from '../native.js';
import type { Tensor } from '../tensor.js';
import { type Timesteps, tensorOn, timestepsOf } from './arguments.js';
import type { CheckedDiffusionOptions } from './gaussianOptions.js';
import type { ProcessTables } from './processTables.js';
import type { NoiseSchedule } from './schedule.js';
import { isLearned, type Variance } from './tables.js';

/** A diffusion process as the modules that compute for `GaussianDiffusion` see it. */
export interface Process extends Readonly<CheckedDiffusionOptions> {
  readonly device: Device;
  readonly schedule: NoiseSchedule;
  readonly tables: ProcessTables;
}

/** Images as the forward process takes them: values in [-1, 1], or bytes. */
export const imageTypes: readonly DType[] = ['f32', 'u8'];

/** Checks the images, given by their argument's name, and the steps; runs `body` on them and frees what it does not return. */
export function onImages<T>(
  { device, schedule, tables }: Process,
  operation: string,
  images: Record<string, Tensor>,
  t: Timesteps,
  body: (x: Tensor, steps: Tensor) => T,
  dtypes: readonly DType[] = ['f32'],
): T {
  tables.check();
  const [[argument, value]] = Object.entries(images) as [[string, Tensor]];
  const x = tensorOn(device, operation, argument, value, ...dtypes);
  return device.scope(() => body(x, timestepsOf(device, operation, t, x.shape[0] as number, schedule.length)));
}

/** The shape of a model's output for images of this shape: twice the channels where the variance is learned. */
export function outputShape(shape: readonly number[], variance: Variance): number[] {
  const channels = shape.at(-1) as number;
  return [...shape.slice(0, -1), isLearned(variance) ? 2 * channels : channels];
}

/** Throws ShapeError unless this is shaped like a model's output for images of this shape. */
export function expectOutput(
  operation: string,
  argument: string,
  output: Tensor,
  shape: readonly number[],
  variance: Variance,
): void {
  const expected = outputShape(shape, variance);
  if (output.shape.join() === expected.join()) return;
  const doubled = outputShape(shape, 'learned').join() === output.shape.join();
  const hint = isLearned(variance)
    ? ` (the prediction, then as many channels for variance '${variance}')`
    : doubled
      ? ` (variance '${variance}' is not put out by the model)`
      : '';
  throw new ShapeError(`${operation}: ${argument} must have shape [${expected}]${hint}, got [${output.shape}]`);
}

/** Throws ShapeError unless a network puts out as many channels as it takes, or twice as many where the variance is learned. */
export function checkChannels(owner: string, model: { inChannels: number; outChannels: number }, variance: Variance): void {
  const { inChannels, outChannels } = model;
  const [expected] = outputShape([inChannels], variance);
  if (outChannels === expected) return;
  const reason = isLearned(variance) ? `with variance '${variance}' they must be twice as many` : 'they must be as many';
  throw new ShapeError(`${owner}: the model turns ${inChannels} channels into ${outChannels}; ${reason}`);
}
