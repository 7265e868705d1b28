import type { Parameter } from '../autograd/parameter.js';
import { tape } from '../autograd/tape.js';
import type { Tensor } from '../tensor.js';
import { splitRows } from './splitRows.js';

/** Affine maps of the same rows whose parameters lie side by side in memory. @internal */
export interface LinearGroup {
  /** What all of them learn, and nothing else: f32, a view of their memory. */
  readonly values: Tensor;
  /** A view of their gradients, laid out likewise. */
  grads(): Tensor;
  /** i32 [B, 3]: where in the views the weight and the bias of each begin, and its width K. */
  readonly places: Tensor;
  /** weight [C, K], bias [K] */
  readonly maps: readonly { weight: Parameter; bias: Parameter }[];
}

/**
 * y_b[n, k] = Σ_c x[n, c] · weight_b[c, k] + bias_b[k] for every map of a group, in one operation; so is the backward pass.
 * `x` f32 [N, C]; returns [N, K_b] for each. @internal
 */
export function linearGroup(x: Tensor, { values, grads, places, maps }: LinearGroup): Tensor[] {
  const { device, shape } = x;
  const rows = shape[0] as number;
  const widths = maps.map(({ weight }) => weight.value.shape[1] as number);
  const y = device.empty([rows * widths.reduce((sum, width) => sum + width, 0)], 'f32');
  device.native.linearGroup(x.handle, values.handle, places.handle, y.handle);
  const parameters = maps.flatMap(({ weight, bias }) => [weight, bias]);
  const wantsX = x.edge !== null;
  const inputs = [x, ...parameters.map(({ value }) => value)];
  tape('linearGroup', y, inputs, [x, values, places], (dy, saved) => {
    const [kept, weights, where] = saved as [Tensor, Tensor, Tensor];
    let dx: Tensor | null = null;
    if (wantsX) {
      dx = device.empty(shape, 'f32');
      device.native.linearGroupBackwardData(dy.handle, weights.handle, where.handle, dx.handle);
    }
    const sinks = parameters.map((parameter) => parameter.sink());
    const accumulate = sinks.some((sink) => sink.accumulate);
    for (const sink of sinks) if (accumulate && !sink.accumulate) device.native.fill(sink.target.handle, 0);
    device.native.linearGroupBackwardWeights(kept.handle, dy.handle, where.handle, grads().handle, accumulate);
    return [dx, ...parameters.map(() => null)];
  });
  return splitRows(y, rows, widths);
}
