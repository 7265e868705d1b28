import { Parameter } from '../autograd/parameter.js';
import type { Edge } from '../autograd/tape.js';
import type { Device } from '../device.js';
import type { Tensor } from '../tensor.js';
import { channelsOf } from './check.js';

/** Where the gradient of an input goes: straight into a parameter's `grad`, or into a new tensor that is returned to the tape. */
export interface GradientTarget {
  tensor: Tensor;
  accumulate: boolean;
  /** For the list that a backward function returns. */
  result: Tensor | null;
}

/** For an input that had `edge` when the operation ran; `shape` in the engine's layout. Null when it wants no gradient. */
export function gradientTarget(device: Device, edge: Edge | null, shape: readonly number[]): GradientTarget | null {
  if (!edge) return null;
  if (edge instanceof Parameter) {
    const { target, accumulate } = edge.sink();
    return { tensor: target, accumulate, result: null };
  }
  return freshTarget(device, shape);
}

function freshTarget(device: Device, shape: readonly number[]): GradientTarget {
  const tensor = device.empty(shape, 'f32');
  return { tensor, accumulate: false, result: tensor };
}

/** Memory for a new f32 gradient of an input that had `edge`: where it is wanted, or anywhere. The backward function returns it. */
export function resultTarget(device: Device, edge: Edge | null | undefined, shape: readonly number[]): Tensor {
  const place = edge && !(edge instanceof Parameter) ? edge.place?.() : null;
  return place ?? device.empty(shape, 'f32');
}

/**
 * Two targets of one native call, which has a single `accumulate`: when only one of them holds something to add to, the other
 * is filled with zeros.
 */
export function gradientTargets(
  device: Device,
  edges: readonly [Edge | null, Edge | null],
  shapes: readonly [readonly number[], readonly number[]],
): { first: GradientTarget | null; second: GradientTarget | null; accumulate: boolean } {
  const first = gradientTarget(device, edges[0], shapes[0]);
  const oneParameter = edges[1] instanceof Parameter && edges[0] === edges[1]; // as both inputs: no two writers of one memory
  const second = oneParameter ? freshTarget(device, shapes[1]) : gradientTarget(device, edges[1], shapes[1]);
  const accumulate = (first?.accumulate ?? false) || (second?.accumulate ?? false);
  for (const target of [first, second])
    if (accumulate && target && !target.accumulate) device.native.fill(target.tensor.handle, 0);
  return { first, second, accumulate };
}

/** The gradients of a weight and of a bias [K]; `both` writes them at once. A bias alone is a sum of dy over all but the last axis. */
export function weightGradients(
  dy: Tensor,
  edges: readonly [weight: Edge | null, bias: Edge | null],
  weightShape: readonly number[],
  both: (dweight: number, dbias: number, accumulate: boolean) => void,
): [dweight: Tensor | null, dbias: Tensor | null] {
  const { device } = dy;
  const channels = channelsOf(dy);
  if (edges[0]) {
    const { first, second, accumulate } = gradientTargets(device, edges, [weightShape, [channels]]);
    both(first?.tensor.handle ?? 0, second?.tensor.handle ?? 0, accumulate);
    return [first?.result ?? null, second?.result ?? null];
  }
  if (!edges[1]) return [null, null];
  const dbias = device.empty([1, channels], 'f32');
  device.native.sumPixels(dy.alias([1, dy.size / channels, channels]).handle, dbias.handle);
  return [null, dbias.alias([channels])];
}
