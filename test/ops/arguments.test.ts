import { describe, expect, test } from 'vitest';
import {
  DeviceMismatchError,
  type DiffusionError,
  DisposedError,
  DTypeError,
  OptionError,
  ShapeError,
} from '../../lib/errors.js';
import type { DType } from '../../lib/native.js';
import { openDevice } from '../../lib/openDevice.js';
import * as ops from '../../lib/ops/index.js';
import type { Tensor } from '../../lib/tensor.js';
import { eachDevice } from '../support/devices.js';

type Shape = readonly number[];
type Arguments = Record<string, Tensor>;

interface Operation {
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

const operations: Record<keyof typeof ops, Operation> = {
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

/** The error of a call, which must be of this class and name the operation and the argument. */
function expectError(call: () => unknown, type: abstract new (...args: never[]) => DiffusionError, ...mentions: RegExp[]): void {
  expect(call).toThrow(type);
  for (const mention of mentions) expect(call).toThrow(mention);
}

eachDevice((id, open) => {
  describe.each(Object.entries(operations))(`arguments of %s on ${id}`, (name, operation) => {
    const names = Object.keys(operation.arguments);
    const dtypeOf = (argument: string): DType => operation.dtypes?.[argument] ?? 'f32';
    const tensors = async (): Promise<Arguments> => {
      const device = await open();
      return Object.fromEntries(
        names.map((one) => [one, device.zeros(operation.arguments[one] as Shape, { dtype: dtypeOf(one) })]),
      );
    };

    test.each(names)('%s', async (argument) => {
      const device = await open();
      const good = await tensors();
      const shape = operation.arguments[argument] as Shape;
      const mention = [new RegExp(`^${name}: `), new RegExp(argument)];
      expect(() => operation.run(good)).not.toThrow();

      if (!operation.anyShape?.includes(argument)) {
        const five = { ...good, [argument]: device.zeros([1, 1, 1, 1, 7], { dtype: dtypeOf(argument) }) };
        expectError(() => operation.run(five), ShapeError, ...mention.slice(0, 1));
      }
      if (!operation.anyDType?.includes(argument))
        expectError(() => operation.run({ ...good, [argument]: device.zeros(shape, { dtype: 'u8' }) }), DTypeError, ...mention);
      for (const wrong of [5, 'x', {}, new Float32Array(3)])
        expectError(() => operation.run({ ...good, [argument]: wrong as never }), OptionError, ...mention);
      const disposed = device.zeros(shape, { dtype: dtypeOf(argument) });
      disposed.dispose();
      expectError(() => operation.run({ ...good, [argument]: disposed }), DisposedError, ...mention);
      if (names.length > 1) {
        const other = await openDevice(id);
        const foreign = other.zeros(shape, { dtype: dtypeOf(argument) });
        expectError(() => operation.run({ ...good, [argument]: foreign }), DeviceMismatchError, mention[0] as RegExp);
        await other.close();
        expectError(() => operation.run({ ...good, [argument]: foreign }), DisposedError, ...mention);
      }
    });

    test.each(operation.wrong ?? [])('option %o is refused', async (options, mention) => {
      const good = await tensors();
      expectError(() => operation.run(good, options), OptionError, new RegExp(`^${name}: `), mention);
    });

    test('an unknown option is refused with the known ones', async () => {
      if (!operation.wrong) return; // takes no options
      const good = await tensors();
      expectError(() => operation.run(good, { sillu: true }), OptionError, /unknown option 'sillu'; known options are /);
    });
  });
});
