import { expect, test } from 'vitest';
import { backward } from '../../lib/autograd/backward.js';
import { Parameter } from '../../lib/autograd/parameter.js';
import type { Device } from '../../lib/device.js';
import * as ops from '../../lib/ops/index.js';
import type { Tensor } from '../../lib/tensor.js';
import { relL2 } from '../support/compare.js';
import { eachDevice } from '../support/devices.js';
import * as reference from '../support/reference.js';
import { randomValues, sizeOf, tolerance } from '../support/values.js';

type Four = [number, number, number, number];

/** As many channels as networks have, where other kernels run than for a few; the gradients by their formulas in float64. */
function parameter(device: Device, seed: number, shape: readonly number[]): { values: Float32Array; parameter: Parameter } {
  const values = randomValues(sizeOf(shape), seed);
  const [value, grad] = [device.tensor(values, shape), device.full(shape, Number.NaN)];
  return { values, parameter: new Parameter('parameter', shape, 'plain', value, grad) };
}

/** Runs backward from Σ dy·y and returns dy. */
function pull(y: Tensor): Float32Array {
  const dy = randomValues(y.size, 50);
  backward(ops.scale(ops.mean(ops.mul(y, y.device.tensor(dy, y.shape))), y.size));
  return dy;
}

async function compare(name: string, actual: Tensor, expected: ArrayLike<number>, terms: number): Promise<void> {
  expect(relL2(await actual.read(), expected), name).toBeLessThan(tolerance(terms, 8)); // dy itself is rounded once more
}

/** The channels [first, last) of an NHWC image of c channels. */
function channels(values: Float64Array, c: number, first: number, last: number): Float64Array {
  return values.filter((_, i) => i % c >= first && i % c < last);
}

/** Sums over 2 × 2 pixels: what `upsample` sends back. */
function sums2x2(dy: Float64Array, [n, h, w, c]: Four): Float64Array {
  const identity = Float64Array.from({ length: 4 * c * c }, (_, i) => (Math.floor(i / c) % c === i % c ? 1 : 0));
  return reference.conv2d({ x: dy, shape: [n, 2 * h, 2 * w, c], weight: identity, weightShape: [2, 2, c, c], stride: 2 });
}

eachDevice((id, open) => {
  test.each([
    { shape: [2, 8, 8, 32], k: 64, filter: 3 },
    { shape: [3, 7, 9, 48], k: 32, filter: 3 },
    { shape: [2, 9, 5, 17], k: 33, filter: 3 },
    { shape: [1, 16, 16, 64], k: 3, filter: 3 },
    { shape: [2, 16, 16, 3], k: 64, filter: 3 },
    { shape: [2, 8, 10, 32], k: 32, filter: 3, stride: 2 },
    { shape: [2, 8, 8, 32], k: 32, filter: 3, stride: 2, padding: [0, 0, 1, 1] },
    { shape: [2, 4, 5, 32], k: 32, filter: 3, upsample: true },
    { shape: [2, 6, 7, 64], k: 128, filter: 1, padding: 0 },
    { shape: [2, 8, 8, 32], c2: 16, k: 64, filter: 3 },
    { shape: [2, 8, 8, 64], c2: 32, k: 32, filter: 1, padding: 0 },
  ])(`conv2d on ${id}: $shape, $c2 → $k, filter $filter, stride $stride`, async (setting) => {
    const device = await open();
    const { k, filter, stride = 1, padding = 1, upsample = false, c2 = 0 } = setting;
    const [n, h, w, c] = setting.shape as Four;
    const all = c + c2;
    const weightShape: Four = [filter, filter, all, k];
    const [x, weight, bias] = [[n, h, w, c], weightShape, [k]].map((shape, i) => parameter(device, i + 1, shape)) as Three;
    const skip = c2 ? parameter(device, 4, [n, h, w, c2]) : null;
    const options = { bias: bias.parameter, skip: skip?.parameter, stride, padding: padding as number, upsample };
    const y = ops.conv2d(x.parameter, weight.parameter, options);
    const dy = pull(y);

    const pair = skip ? reference.concat(x.values, c, skip.values, c2) : x.values;
    const args: reference.ConvolutionReference = {
      x: upsample ? reference.upsample(pair, [n, h, w, all]) : pair,
      shape: upsample ? [n, 2 * h, 2 * w, all] : [n, h, w, all],
      weight: weight.values,
      weightShape,
      bias: bias.values,
      stride,
      padding: (typeof padding === 'number' ? [padding, padding, padding, padding] : padding) as Four,
    };
    const [, oh, ow] = reference.convolutionShape(args);
    await compare('output', y, reference.conv2d(args), filter * filter * all);
    const { dx, dweight, dbias } = reference.conv2dBackward(args, dy);
    const dpair = upsample ? sums2x2(dx, [n, h, w, all]) : dx;
    await compare('dx', x.parameter.grad, channels(dpair, all, 0, c), filter * filter * k);
    if (skip) await compare('dskip', skip.parameter.grad, channels(dpair, all, c, all), filter * filter * k);
    await compare('dweight', weight.parameter.grad, dweight, n * oh * ow);
    await compare('dbias', bias.parameter.grad, dbias, n * oh * ow);
  });

  test.each([
    { front: [3], c: 512, k: 128 },
    { front: [128], c: 128, k: 512 },
    { front: [2, 64], c: 96, k: 96 },
    { front: [3, 35], c: 65, k: 130 },
  ])(`linear on ${id}: [$front, $c] → $k`, async ({ front, c, k }) => {
    const device = await open();
    const [x, weight, bias] = [[...front, c], [c, k], [k]].map((shape, i) => parameter(device, i + 1, shape)) as Three;
    const y = ops.linear(x.parameter, weight.parameter, { bias: bias.parameter });
    const rows = sizeOf(front);
    const args: reference.ConvolutionReference = {
      x: x.values,
      shape: [rows, 1, 1, c],
      weight: weight.values,
      weightShape: [1, 1, c, k],
      bias: bias.values,
    };
    const { dx, dweight, dbias } = reference.conv2dBackward(args, pull(y));
    await compare('output', y, reference.conv2d(args), c);
    await compare('dx', x.parameter.grad, dx, k);
    await compare('dweight', weight.parameter.grad, dweight, rows);
    await compare('dbias', bias.parameter.grad, dbias, rows);
  });

  test.each([
    { n: 2, l: 64, heads: 4, d: 32 },
    { n: 1, l: 256, heads: 1, d: 64 },
    { n: 2, l: 100, heads: 2, d: 40 },
    { n: 3, l: 16, heads: 1, d: 256 },
  ])(`attention on ${id}: batch $n, $l tokens, $heads heads of $d`, async ({ n, l, heads, d }) => {
    const device = await open();
    const [q, k, v] = [1, 2, 3].map((seed) => parameter(device, seed, [n, l, heads * d])) as Three;
    const y = ops.attention(q.parameter, k.parameter, v.parameter, { heads });
    const args = { q: q.values, k: k.values, v: v.values, n, l, heads, scale: 1 / Math.sqrt(d) };
    const expected = reference.attentionBackward(args, pull(y));
    await compare('output', y, expected.y, l + d);
    await compare('dq', q.parameter.grad, expected.dq, l + d);
    await compare('dk', k.parameter.grad, expected.dk, l + d);
    await compare('dv', v.parameter.grad, expected.dv, l + d);
  });
});

type Three = [ReturnType<typeof parameter>, ReturnType<typeof parameter>, ReturnType<typeof parameter>];
