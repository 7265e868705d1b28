import type { Rng } from '../random.js';
import type { Tensor } from '../tensor.js';

/** The last losses of every step on a device, f32 [T, K], and how many there are, i32 [T]; both start as zeros. @internal */
export interface LossMemory {
  history: Tensor;
  counts: Tensor;
}

/**
 * Steps drawn as often as their losses are large (Nichol & Dhariwal 2021, section 3.3), i32 [batch], and the weights that make up
 * for it, 1/(T·p), f32 [batch]. Until every step has K losses all are equally likely. `uniform` is the part of the probability
 * that all share alike; 0.001.
 */
export function importanceTimesteps(
  { history, counts }: LossMemory,
  batch: number,
  rng: Rng,
  uniform = 0.001,
): { t: Tensor; weights: Tensor } {
  const { device } = history;
  const [t, weights] = [device.empty([batch], 'i32'), device.empty([batch], 'f32')];
  device.native.importanceTimesteps(history.handle, counts.handle, t.handle, weights.handle, uniform, ...rng.fields);
  rng.advance();
  return { t, weights };
}

/** Enters the losses [N] of steps t [N] into the history, in the order of the samples; losses that are not finite are left out. */
export function recordLosses({ history, counts }: LossMemory, t: Tensor, losses: Tensor): void {
  history.device.native.recordLosses(t.handle, losses.handle, history.handle, counts.handle);
  history.cell.version++;
  counts.cell.version++;
}
