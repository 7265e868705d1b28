import * as v from 'valibot';
import type { Timesteps } from '../diffusion/arguments.js';
import { tensorOn, timestepsOf } from '../diffusion/arguments.js';
import { GaussianDiffusion } from '../diffusion/gaussian.js';
import { importanceTimesteps, type LossMemory, recordLosses } from '../diffusion/importance.js';
import { DisposedError, OptionError, ShapeError } from '../errors.js';
import { expectShape } from '../ops/check.js';
import { integer, parseOptions, show } from '../options.js';
import { type RngOptions, streams, toRng } from '../random.js';
import type { Tensor } from '../tensor.js';

/** Options of `LossSecondMomentSampler.draw`. */
export type DrawOptions = Omit<RngOptions, 'stream'>;

/** Timesteps of a batch, and what its losses are multiplied by so that their mean stays that of uniform timesteps. */
export interface DrawnTimesteps {
  /** i32 [batch] */
  t: Tensor;
  /** f32 [batch] */
  weights: Tensor;
}

/** The losses that a `LossSecondMomentSampler` remembers. */
export interface LossHistory {
  /** The last losses of each step, [T, 10]; those beyond the count are not in use. */
  losses: Float32Array;
  /** How many there are of each step, [T], at most 10. */
  counts: Int32Array;
}

/** Losses remembered of each step. */
export const historyLength = 10;

const owner = 'LossSecondMomentSampler';
const drawSchema = v.strictObject({
  seed: v.optional(v.unknown()),
  step: v.optional(v.unknown()),
  firstSample: v.optional(v.unknown()),
});

/**
 * Draws timesteps in proportion to √E[L_t²] over the last ten losses of each, and weights them by the inverse, which makes the
 * estimate of the variational bound less noisy (Nichol & Dhariwal 2021, arXiv 2102.09672, section 3.3): p_t = 0.999·√E[L_t²]/Σ + 0.001/T,
 * weight 1/(T·p_t). Until ten losses of every step are known it draws them all alike. All of it stays on the device: `draw` and
 * `record` can be part of a recording.
 *
 * In a loop of one's own: `const { t, weights } = sampler.draw(n)`, `losses = diffusion.trainingLosses(model, x0, t)`,
 * `sampler.record(t, losses.loss)`, `backward(mean(ops.mul(losses.loss, weights)))`. The trainer does so for `timestepSampler: 'lossSecondMoment'`.
 */
export class LossSecondMomentSampler {
  /** The process whose steps are drawn. */
  readonly diffusion: GaussianDiffusion;
  readonly #memory: LossMemory;

  /** @throws OptionError, OutOfMemoryError. */
  constructor(diffusion: GaussianDiffusion) {
    if (!(diffusion instanceof GaussianDiffusion))
      throw new OptionError(`new ${owner}: diffusion must be a GaussianDiffusion, got ${show(diffusion)}`);
    const { device, schedule } = diffusion;
    this.diffusion = diffusion;
    this.#memory = device.outsideRecording(() => ({
      history: device.zeros([schedule.length, historyLength]),
      counts: device.zeros([schedule.length], { dtype: 'i32' }),
    }));
  }

  /**
   * Timesteps for so many samples, and their weights. Without a seed the device's own stream advances.
   * @throws OptionError, OutOfMemoryError, DisposedError.
   */
  draw(count: number, options: DrawOptions = {}): DrawnTimesteps {
    this.#check('draw');
    const { device } = this.diffusion;
    const checked = parseOptions(`${owner}.draw`, drawSchema, options) as DrawOptions;
    parseOptions(`${owner}.draw`, v.strictObject({ count: integer(1) }), { count });
    const rng = toRng(`${owner}.draw`, device, { ...checked, stream: streams.timesteps });
    return importanceTimesteps(this.#memory, count, rng);
  }

  /**
   * Remembers the losses [N] of a batch at the steps t [N], without weights. Those that are not finite are left out.
   * @throws OptionError, ShapeError, DTypeError, DeviceMismatchError, DisposedError.
   */
  record(t: Timesteps, losses: Tensor): void {
    const operation = `${owner}.record`;
    this.#check('record');
    const { device, schedule } = this.diffusion;
    const values = tensorOn(device, operation, 'losses', losses);
    if (values.shape.length !== 1) throw new ShapeError(`${operation}: losses must have shape [n], got [${values.shape}]`);
    const steps = timestepsOf(device, operation, t, values.size, schedule.length);
    expectShape(operation, 't', steps, values.shape);
    recordLosses(this.#memory, steps, values);
    steps.dispose();
  }

  /** What it remembers, for checkpoints. @throws DisposedError. */
  async read(): Promise<LossHistory> {
    this.#check('read');
    const [losses, counts] = await Promise.all([this.#memory.history.read(), this.#memory.counts.read()]);
    return { losses: losses as Float32Array, counts: counts as Int32Array };
  }

  /**
   * Remembers what `read` gave.
   * @throws ShapeError for another number of steps; OptionError for counts outside 0 … 10; DTypeError, DisposedError.
   */
  write({ losses, counts }: LossHistory): void {
    this.#check('write');
    const wrong = counts.findIndex((count) => !(Number.isInteger(count) && count >= 0 && count <= historyLength));
    if (wrong >= 0)
      throw new OptionError(
        `${owner}.write: counts[${wrong}] must be an integer between 0 and ${historyLength}, got ${counts[wrong]}`,
      );
    this.#memory.history.write(losses);
    this.#memory.counts.write(counts);
  }

  /** Frees the memory; a second call does nothing. */
  dispose(): void {
    this.#memory.history.dispose();
    this.#memory.counts.dispose();
  }

  /** For `using`: the same as `dispose`. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  #check(method: string): void {
    if (this.#memory.history.disposed) throw new DisposedError(`${owner}.${method} after dispose()`);
  }
}
