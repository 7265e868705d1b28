import { type Edge, tape, wantsGradient } from '../autograd/tape.js';
import { OptionError, ShapeError } from '../errors.js';
import { show } from '../options.js';
import { noRng, type Rng, type RngOptions } from '../random.js';
import { Tensor } from '../tensor.js';
import {
  asFloat,
  asTensor,
  channelsOf,
  expectShape,
  oneDevice,
  optionalFloat,
  optionalTensor,
  type TensorLike,
} from './check.js';
import { draw, drawAgain } from './draw.js';
import { gradientTargets, resultTarget } from './gradients.js';
import { checkBoolean, checkInteger, checkNames, checkProbability } from './options.js';
import { sumsOf } from './sums.js';

/** Seed options place the dropout mask; without a seed the device's own stream advances. */
export interface GroupNormOptions extends RngOptions {
  /** Number of groups; divides the channels. */
  groups: number;
  /** Added to the variance. */
  eps?: number;
  /** Follow with z · sigmoid(z). */
  silu?: boolean;
  /** A second input [N, ..., C2] whose channels count as following those of `x`; groups may span both. */
  skip?: TensorLike | null;
  /** [N, 2C] = (scale | shift): z · (1 + scale) + shift, before SiLU. */
  scaleShift?: TensorLike | null;
  /** Probability of dropping an element at the end. */
  dropout?: number;
}

const names = ['groups', 'eps', 'silu', 'skip', 'scaleShift', 'dropout', 'seed', 'stream', 'step', 'firstSample'];

/**
 * Group normalisation (Wu & He 2018) of `x` [N, ..., C1], over the pixels and the channels of a group, with what follows it in a
 * residual block: z = (x − mean)/√(var + eps) · gamma + beta, then scale and shift, SiLU, dropout. `gamma`, `beta` [C1 + C2].
 * Returns [N, ..., C1 + C2]. `x` and `skip` hold f32, or both bf16 (arithmetic in f32) as the result then does; the rest is f32.
 * Throws typed errors naming the argument.
 */
export function groupNorm(x: TensorLike, gamma: TensorLike, beta: TensorLike, options: GroupNormOptions): Tensor {
  checkNames('groupNorm', options, names);
  const { groups, eps = 1e-5, silu = false, dropout = 0 } = options;
  checkInteger('groupNorm', 'groups', groups, 1);
  if (!(Number.isFinite(eps) && eps >= 0))
    throw new OptionError(`groupNorm: option 'eps' must be a finite number of at least 0, got ${show(eps)}`);
  checkBoolean('groupNorm', 'silu', silu);
  checkProbability('groupNorm', 'dropout', dropout);
  const input = asFloat('groupNorm', 'x', x);
  const weight = asTensor('groupNorm', 'gamma', gamma);
  const bias = asTensor('groupNorm', 'beta', beta);
  const skip = optionalFloat('groupNorm', 'skip', options.skip, input);
  const scaleShift = optionalTensor('groupNorm', 'scaleShift', options.scaleShift);
  const device = oneDevice('groupNorm', { x: input, gamma: weight, beta: bias, skip, scaleShift });
  const shape = outputShape(input, skip, groups);
  const n = shape[0] as number;
  const c = shape[shape.length - 1] as number;
  expectShape('groupNorm', 'gamma', weight, [c]);
  expectShape('groupNorm', 'beta', bias, [c]);
  if (scaleShift) expectShape('groupNorm', 'scaleShift', scaleShift, [n, 2 * c]);

  const inputs = [input, skip, weight, bias, scaleShift];
  const taped = wantsGradient(...inputs);
  const drawn = dropout > 0 ? draw('groupNorm', device, options, taped) : null;
  const { fields } = drawn ?? noRng;
  const y = device.empty(shape, input.dtype);
  const stats = device.allocate([n, groups, 2], 'f32');
  const sums = sumsOf(input);
  const skipSums = sums && skip ? sumsOf(skip) : null;
  const summed = sums !== null && (skip === null || skipSums !== null);
  device.native.groupNorm(
    input.handle,
    skip?.handle ?? 0,
    weight.handle,
    bias.handle,
    scaleShift?.handle ?? 0,
    summed ? sums.handle : 0,
    summed ? (skipSums?.handle ?? 0) : 0,
    y.handle,
    stats,
    groups,
    eps,
    silu,
    dropout,
    ...fields,
  );
  if (taped) {
    const edges = inputs.map((one) => one?.edge ?? null);
    using kept = new Tensor(device, stats, [n, groups, 2], 'f32');
    const saved = [input, skip, weight, bias, scaleShift, kept, drawn?.state];
    tape('groupNorm', y, inputs, saved, backwardOf(edges, groups, silu, dropout, fields));
  } else device.native.release(stats);
  drawn?.done();
  return y;
}

function backwardOf(
  [xEdge, skipEdge, gammaEdge, betaEdge, scaleShiftEdge]: readonly (Edge | null | undefined)[],
  groups: number,
  silu: boolean,
  dropout: number,
  fields: Rng['fields'],
) {
  return (dy: Tensor, [x, skip, gamma, beta, scaleShift, stats, state]: (Tensor | undefined)[]): (Tensor | null)[] => {
    const { device } = dy;
    const [input, weight, bias] = [x as Tensor, gamma as Tensor, beta as Tensor];
    const dx = device.empty(input.shape, input.dtype);
    const dskip = skip ? device.empty(skip.shape, skip.dtype) : null;
    const dscaleShift = scaleShift ? resultTarget(device, scaleShiftEdge, scaleShift.shape) : null;
    const { first, second, accumulate } = gradientTargets(
      device,
      [gammaEdge ?? null, betaEdge ?? null],
      [weight.shape, bias.shape],
    );
    const dgamma = first?.tensor ?? device.zeros(weight.shape); // the native call writes both
    const dbeta = second?.tensor ?? device.zeros(bias.shape);
    device.native.groupNormBackward(
      dy.handle,
      input.handle,
      skip?.handle ?? 0,
      weight.handle,
      bias.handle,
      scaleShift?.handle ?? 0,
      (stats as Tensor).handle,
      dx.handle,
      dskip?.handle ?? 0,
      dgamma.handle,
      dbeta.handle,
      dscaleShift?.handle ?? 0,
      groups,
      silu,
      dropout,
      ...drawAgain(fields, state),
      accumulate,
    );
    return [
      xEdge ? dx : null,
      skipEdge ? dskip : null,
      first?.result ?? null,
      second?.result ?? null,
      scaleShiftEdge ? dscaleShift : null,
    ];
  };
}

function outputShape(x: Tensor, skip: Tensor | null, groups: number): number[] {
  if (x.shape.length < 2) throw new ShapeError(`groupNorm: x must be [N, ..., C], got shape [${x.shape}]`);
  const front = x.shape.slice(0, -1);
  if (skip) expectShape('groupNorm', 'skip', skip, [...front, channelsOf(skip)]);
  const c = channelsOf(x) + (skip ? channelsOf(skip) : 0);
  if (c % groups !== 0) throw new ShapeError(`groupNorm: groups = ${groups} does not divide ${c} channels, x is [${x.shape}]`);
  return [...front, c];
}
