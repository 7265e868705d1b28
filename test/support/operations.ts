import type { DType } from '../../lib/native.js';
import * as ops from '../../lib/ops/index.js';
import type { Tensor } from '../../lib/tensor.js';

export type Shape = readonly number[];
export type Arguments = Record<string, Tensor>;

export interface Operation {
  /** Tensor arguments with the dtype that each must have, f32 when left out. */
  arguments: Record<string, Shape>;
  dtypes?: Record<string, DType>;
  /** Arguments that may have any shape or any element type. */
  anyShape?: string[];
  anyDType?: string[];
  run(tensors: Arguments, options?: object): Tensor;
  /** Options that are refused, each with what the message names. */
  wrong?: [options: Record<string, unknown>, name: RegExp][];
}

/** A call with tensors under their names; all other arguments are options. */
const pick = ({ x, weight, q, k, v, gamma, beta, a, b, t, ids, table, prediction, target, ...rest }: Arguments) => rest;

/** Every operation, with arguments that go together. */
export const operations: Record<keyof typeof ops, Operation> = {
  conv2d: {
    arguments: { x: [2, 4, 4, 3], weight: [3, 3, 5, 6], bias: [6], skip: [2, 4, 4, 2], shift: [2, 6], residual: [2, 4, 4, 6] },
    run: (t, options) => ops.conv2d(t.x as Tensor, t.weight as Tensor, { ...pick(t), padding: 1, ...options }),
    wrong: [
      [{ stride: 0 }, /stride/],
      [{ stride: 1.5 }, /stride/],
      [{ padding: -1 }, /padding/],
      [{ padding: [1, 1] }, /padding/],
      [{ padding: '1' }, /padding/],
      [{ upsample: 1 }, /upsample/],
    ],
  },
  linear: {
    arguments: { x: [2, 3], weight: [3, 4], bias: [4], residual: [2, 4] },
    run: (t, options) => ops.linear(t.x as Tensor, t.weight as Tensor, { ...pick(t), ...options }),
    wrong: [[{ biases: null }, /biases/]],
  },
  groupNorm: {
    arguments: { x: [2, 4, 4, 3], gamma: [5], beta: [5], skip: [2, 4, 4, 2], scaleShift: [2, 10] },
    run: (t, options) => ops.groupNorm(t.x as Tensor, t.gamma as Tensor, t.beta as Tensor, { ...pick(t), groups: 5, ...options }),
    wrong: [
      [{ groups: 0 }, /groups/],
      [{ groups: undefined }, /groups/],
      [{ eps: -1 }, /eps/],
      [{ silu: 'yes' }, /silu/],
      [{ dropout: 1 }, /dropout/],
      [{ dropout: 0.5, seed: -1 }, /seed/],
      [{ dropout: 0.5, stream: 0.5 }, /stream/],
    ],
  },
  attention: {
    arguments: { q: [2, 5, 6], k: [2, 5, 6], v: [2, 5, 6] },
    run: (t, options) => ops.attention(t.q as Tensor, t.k as Tensor, t.v as Tensor, options),
    wrong: [
      [{ heads: 0 }, /heads/],
      [{ scale: Number.NaN }, /scale/],
    ],
  },
  add: { arguments: { a: [2, 3], b: [2, 3] }, run: (t) => ops.add(t.a as Tensor, t.b as Tensor) },
  mul: { arguments: { a: [2, 3], b: [2, 3] }, run: (t) => ops.mul(t.a as Tensor, t.b as Tensor) },
  scale: { arguments: { x: [3] }, anyShape: ['x'], run: (t) => ops.scale(t.x as Tensor, 2) },
  relu: { arguments: { x: [3] }, anyShape: ['x'], run: (t) => ops.relu(t.x as Tensor) },
  sigmoid: { arguments: { x: [3] }, anyShape: ['x'], run: (t) => ops.sigmoid(t.x as Tensor) },
  tanh: { arguments: { x: [3] }, anyShape: ['x'], run: (t) => ops.tanh(t.x as Tensor) },
  softmax: { arguments: { x: [3] }, anyShape: ['x'], run: (t) => ops.softmax(t.x as Tensor) },
  gelu: {
    arguments: { x: [3] },
    anyShape: ['x'],
    run: (t, options) => ops.gelu(t.x as Tensor, options),
    wrong: [[{ approximate: true }, /approximate/]],
  },
  sum: {
    arguments: { x: [2, 3] },
    anyShape: ['x'],
    run: (t, options) => ops.sum(t.x as Tensor, options),
    wrong: [
      [{ axes: 2 }, /axes/],
      [{ keepDims: 1 }, /keepDims/],
    ],
  },
  pad: {
    arguments: { x: [2, 3] },
    anyShape: ['x'],
    run: (t, options) =>
      ops.pad(
        t.x as Tensor,
        [
          [0, 1],
          [1, 0],
        ],
        options,
      ),
    wrong: [[{ value: '0' }, /value/]],
  },
  layerNorm: {
    arguments: { x: [2, 3, 4], gamma: [3, 4], beta: [3, 4] },
    run: (t, options) => ops.layerNorm(t.x as Tensor, t.gamma as Tensor, t.beta as Tensor, options),
    wrong: [
      [{ axes: 0 }, /axes/],
      [{ eps: -1 }, /eps/],
    ],
  },
  convTranspose2d: {
    arguments: { x: [2, 4, 4, 3], weight: [3, 3, 6, 3], bias: [6] },
    run: (t, options) => ops.convTranspose2d(t.x as Tensor, t.weight as Tensor, { ...pick(t), ...options }),
    wrong: [
      [{ stride: 0 }, /stride/],
      [{ padding: -1 }, /padding/],
      [{ outputPadding: 1 }, /outputPadding/],
      [{ stride: 2, outputPadding: [1] }, /outputPadding/],
    ],
  },
  sub: { arguments: { a: [2, 3], b: [2, 3] }, run: (t) => ops.sub(t.a as Tensor, t.b as Tensor) },
  slice: { arguments: { x: [2, 3] }, anyShape: ['x'], run: (t) => ops.slice(t.x as Tensor, 0, 0, 1) },
  split: { arguments: { x: [2, 2] }, run: (t) => ops.split(t.x as Tensor, 2)[0] as Tensor },
  permute: { arguments: { x: [2, 3] }, anyShape: ['x'], run: (t) => ops.permute(t.x as Tensor, [1, 0]) },
  transpose: { arguments: { x: [2, 3] }, anyShape: ['x'], run: (t) => ops.transpose(t.x as Tensor, 0, 1) },
  silu: { arguments: { x: [3] }, anyShape: ['x'], run: (t) => ops.silu(t.x as Tensor) },
  dropout: {
    arguments: { x: [3] },
    anyShape: ['x'],
    run: (t, options) => ops.dropout(t.x as Tensor, 0.5, options),
    wrong: [
      [{ seed: 'x' }, /seed/],
      [{ step: -1 }, /step/],
      [{ firstSample: 2 ** 32 }, /firstSample/],
    ],
  },
  upsample: { arguments: { x: [1, 2, 2, 1] }, run: (t) => ops.upsample(t.x as Tensor) },
  downsample: { arguments: { x: [1, 2, 2, 1] }, run: (t) => ops.downsample(t.x as Tensor) },
  avgPool2d: {
    arguments: { x: [1, 4, 4, 1] },
    run: (t, options) => ops.avgPool2d(t.x as Tensor, 2, options),
    wrong: [
      [{ stride: 0 }, /stride/],
      [{ stride: [1] }, /stride/],
      [{ padding: -1 }, /padding/],
      [{ padding: [0, 0, 2, 0] }, /padding/],
      [{ countIncludePad: 1 }, /countIncludePad/],
    ],
  },
  maxPool2d: {
    arguments: { x: [1, 4, 4, 1] },
    run: (t, options) => ops.maxPool2d(t.x as Tensor, 2, options),
    wrong: [
      [{ stride: [1, 2, 3] }, /stride/],
      [{ padding: 0.5 }, /padding/],
    ],
  },
  concat: { arguments: { a: [2, 3], b: [2, 3] }, run: (t) => ops.concat(t.a as Tensor, t.b as Tensor) },
  reshape: { arguments: { x: [6] }, anyDType: ['x'], run: (t) => ops.reshape(t.x as Tensor, [2, 3]) },
  cast: { arguments: { x: [6] }, anyDType: ['x'], anyShape: ['x'], run: (t) => ops.cast(t.x as Tensor, 'i32') },
  timestepEmbedding: {
    arguments: { t: [3] },
    dtypes: { t: 'i32' },
    run: (t, options) => ops.timestepEmbedding(t.t as Tensor, 8, options),
    wrong: [
      [{ flipSinToCos: 0 }, /flipSinToCos/],
      [{ freqShift: Number.POSITIVE_INFINITY }, /freqShift/],
    ],
  },
  embedding: {
    arguments: { ids: [2], table: [3, 4], addend: [2, 4] },
    dtypes: { ids: 'i32' },
    run: (t, options) => ops.embedding(t.ids as Tensor, t.table as Tensor, { ...pick(t), ...options }),
    wrong: [[{ added: null }, /added/]],
  },
  mean: { arguments: { x: [3] }, anyShape: ['x'], run: (t) => ops.mean(t.x as Tensor) },
  mseLoss: {
    arguments: { prediction: [2, 3], target: [2, 3] },
    run: (t) => ops.mseLoss(t.prediction as Tensor, t.target as Tensor),
  },
  mseLossPerSample: {
    arguments: { prediction: [2, 3], target: [2, 3] },
    run: (t) => ops.mseLossPerSample(t.prediction as Tensor, t.target as Tensor),
  },
};
