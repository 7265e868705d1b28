/** A convolution in bf16 and its gradients by native calls, beside float64 on the same rounded inputs. */

import { expect } from 'vitest';
import type { Device } from '../../lib/device.js';
import type { DType } from '../../lib/native.js';
import type { Tensor } from '../../lib/tensor.js';
import { relL2 } from './compare.js';
import * as reference from './reference.js';
import * as convolution from './referenceConv2d.js';
import { randomValues, sizeOf, toBf16, widen } from './values.js';

type Four = [number, number, number, number];

export interface ConvolutionCase {
  n?: number;
  h: number;
  w: number;
  c: number;
  /** Channels of the second input. */
  c2?: number;
  k: number;
  filter: number;
  stride?: number;
  padding?: number | Four;
  upsample?: boolean;
  shift?: boolean;
  residual?: boolean;
  /** f32 output. */
  f32?: boolean;
  /** Tensors that begin at an odd element of their memory. */
  odd?: boolean;
}

/** Relative L2 that a result in bf16, or one in f32 of bf16 inputs, may be off by. */
const limit = { bf16: 4e-3, f32: 1e-5 };

export function setUp(device: Device, args: ConvolutionCase) {
  const { n = 2, h, w, c, c2 = 0, k, filter, stride = 1, padding = 0, upsample = false, odd = false } = args;
  const sides: Four = Array.isArray(padding) ? padding : [padding, padding, padding, padding];
  const [hh, ww] = upsample ? [2 * h, 2 * w] : [h, w];
  const oh = Math.floor((hh + sides[0] + sides[2] - filter) / stride) + 1;
  const ow = Math.floor((ww + sides[1] + sides[3] - filter) / stride) + 1;
  const weightShape: Four = [filter, filter, c + c2, k];
  const shapes = { x: [n, h, w, c], skip: [n, h, w, c2], y: [n, oh, ow, k], weight: weightShape };
  const values = (shape: readonly number[], seed: number) => toBf16(randomValues(sizeOf(shape), seed));
  const x = values(shapes.x, 1);
  const skip = values(shapes.skip, 2);
  const pair = c2 ? reference.concat(x, c, skip, c2) : widen(x);
  const weight = values(weightShape, 3);
  const exact: convolution.ConvolutionReference = {
    x: upsample ? reference.upsample(pair, [n, h, w, c + c2]) : pair,
    shape: [n, hh, ww, c + c2],
    weight,
    weightShape,
    stride,
    padding: sides,
  };
  /** In the middle of memory full of NaN, which must stay. */
  const place = (data: ArrayLike<number> | null, shape: readonly number[], dtype: DType = 'bf16') => {
    const margin = odd ? 9 : 64;
    const size = sizeOf(shape);
    const around = new Float32Array(size + 2 * margin).fill(Number.NaN);
    if (data) around.set(data, margin);
    const memory = device.tensor(around, [around.length], { dtype });
    const tensor = memory.alias(shape, margin);
    const read = async () => {
      const all = await memory.read();
      const outside = [...all.subarray(0, margin), ...all.subarray(margin + size)];
      expect(outside.every(Number.isNaN), 'memory outside of a result was written').toBe(true);
      return all.slice(margin, margin + size);
    };
    return { tensor, read };
  };
  const window = [stride, ...sides, upsample] as const;
  return { n, oh, ow, c2, k, shapes, values, x, skip, weight, exact, place, window, native: device.native };
}

const handle = (placed: { tensor: Tensor } | null) => placed?.tensor.handle ?? 0;

interface Forward {
  y: Float32Array;
  sums: Float32Array | null;
  expected: Float64Array;
}

async function forward(device: Device, args: ConvolutionCase, statistics: boolean): Promise<Forward> {
  const { n, oh, ow, k, shapes, values, exact, place, window, native, ...at } = setUp(device, args);
  const bias = randomValues(k, 4);
  const shift = args.shift ? randomValues(n * k, 5) : undefined;
  const residual = args.residual ? values(shapes.y, 6) : undefined;
  const operands = [
    place(at.x, shapes.x),
    at.c2 ? place(at.skip, shapes.skip) : null,
    place(at.weight, shapes.weight),
    place(bias, [k], 'f32'),
    shift ? place(shift, [n, k], 'f32') : null,
    residual ? place(residual, shapes.y) : null,
  ].map(handle) as Six;
  const results = [0, 1].map(() => {
    const y = place(null, shapes.y, args.f32 ? 'f32' : 'bf16');
    const sums = statistics ? place(null, [n, (oh * ow) / 64, k, 2], 'f32') : null;
    native.conv2d(...operands, handle(y), handle(sums), ...window);
    return Promise.all([y.read(), sums?.read() ?? null]);
  });
  const [once, again] = (await Promise.all(results)) as [Results, Results];
  for (const i of [0, 1]) expect(sameBits(again[i] ?? null, once[i] ?? null), 'a second time').toBe(true);
  return { y: once[0], sums: once[1], expected: convolution.conv2d({ ...exact, bias, shift, residual }) };
}

export async function checkForward(device: Device, args: ConvolutionCase): Promise<void> {
  const { y, expected } = await forward(device, args, false);
  expect(relL2(y, expected), 'y').toBeLessThan(limit[args.f32 && !folds(args) ? 'f32' : 'bf16']);
}

/** Σ y and Σ y² over each 64 pixels; with four phases, which 64 of a sample share a pair is left open. */
export async function checkSums(device: Device, args: ConvolutionCase): Promise<void> {
  const { y, sums, expected } = await forward(device, args, true);
  const { n, oh, ow, k } = setUp(device, args);
  expect(relL2(y, expected), 'y').toBeLessThan(limit.bf16);
  const pixels = folds(args) ? oh * ow : 64;
  const wanted = new Float64Array(((n * oh * ow) / pixels) * k * 2);
  const got = new Float64Array(wanted.length);
  for (const [i, value] of expected.entries()) {
    const at = (Math.floor(i / k / pixels) * k + (i % k)) * 2;
    wanted[at] = (wanted[at] as number) + value;
    wanted[at + 1] = (wanted[at + 1] as number) + value * value;
  }
  for (const [i, value] of (sums as Float32Array).entries()) {
    const at = Math.floor((i / (2 * k) / pixels) * 64) * 2 * k + (i % (2 * k));
    got[at] = (got[at] as number) + value;
  }
  for (const which of [0, 1]) {
    const of = (all: Float64Array) => all.filter((_, i) => i % 2 === which);
    expect(relL2(of(got), of(wanted)), `Σ y${which ? '²' : ''}`).toBeLessThan(limit[folds(args) ? 'bf16' : 'f32']);
  }
}

type Results = [y: Float32Array, sums: Float32Array | null];

const sameBits = (a: Float32Array | null, b: Float32Array | null) =>
  a === b || (a !== null && b !== null && Buffer.compare(new Uint8Array(a.buffer), new Uint8Array(b.buffer)) === 0);

type Six = [number, number, number, number, number, number];

export async function checkBackward(device: Device, args: ConvolutionCase): Promise<void> {
  const { k, shapes, values, exact, place, window, native, ...at } = setUp(device, args);
  const dy = values(shapes.y, 7);
  const expected = convolution.conv2dBackward(exact, dy);
  const placed = place(dy, shapes.y);
  const [dx, dskip] = [place(null, shapes.x), at.c2 ? place(null, shapes.skip) : null];
  native.conv2dBackwardData(handle(placed), handle(place(at.weight, shapes.weight)), handle(dx), handle(dskip), ...window);
  const pair = args.upsample ? sumEnlarged(expected.dx, exact.shape) : expected.dx;
  const got = dskip ? reference.concat(await dx.read(), args.c, await dskip.read(), at.c2) : await dx.read();
  expect(relL2(got, pair), 'dx').toBeLessThan(limit.bf16);

  const [dweight, dbias] = [place(null, shapes.weight, 'f32'), place(null, [k], 'f32')];
  const inputs = [handle(place(at.x, shapes.x)), at.c2 ? handle(place(at.skip, shapes.skip)) : 0, handle(placed)] as const;
  for (const times of [1, 2]) {
    native.conv2dBackwardWeights(...inputs, handle(dweight), handle(dbias), ...window, times > 1);
    expect(
      relL2(
        await dweight.read(),
        expected.dweight.map((v) => times * v),
      ),
      'dweight',
    ).toBeLessThan(limit.f32);
    expect(
      relL2(
        await dbias.read(),
        expected.dbias.map((v) => times * v),
      ),
      'dbias',
    ).toBeLessThan(limit.f32);
  }
}

/** Whether the weights are summed for four phases, which rounds them once more. */
function folds({ c, c2 = 0, k, filter, stride = 1, padding, upsample = false, odd = false }: ConvolutionCase): boolean {
  return upsample && filter === 3 && stride === 1 && padding === 1 && !odd && [c, c2, k].every((size) => size % 8 === 0);
}

function sumEnlarged(dx: Float64Array, [n, h, w, c]: readonly [number, number, number, number]): Float64Array {
  const sums = new Float64Array(dx.length / 4);
  for (let row = 0; row < n * h; row++)
    for (let i = 0; i < w * c; i++) {
      const to = ((row >> 1) * (w >> 1) + (Math.floor(i / c) >> 1)) * c + (i % c);
      sums[to] = (sums[to] as number) + (dx[row * w * c + i] as number);
    }
  return sums;
}
