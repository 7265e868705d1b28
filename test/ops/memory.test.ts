import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { backward } from '../../lib/autograd/backward.js';
import { Parameter } from '../../lib/autograd/parameter.js';
import type { Device } from '../../lib/device.js';
import { OptionError, ShapeError } from '../../lib/errors.js';
import { openDevice } from '../../lib/openDevice.js';
import * as ops from '../../lib/ops/index.js';
import type { Tensor } from '../../lib/tensor.js';

let device: Device;
beforeEach(async () => {
  device = await openDevice('cpu', { threads: 1 });
});
afterEach(() => device.close());

const usedBytes = () => device.memory().usedBytes;

function parameter(...shape: number[]): Parameter {
  return new Parameter('parameter', shape, 'plain', device.randn(shape, { seed: 1 }), device.zeros(shape));
}

/** A loss through every operation that has a gradient, dropout from the device's own stream included. */
function loss(p: Record<Name, Parameter>, ids: Tensor): Tensor {
  const { image, filter, wide, bias, gamma, beta, matrix, table } = p;
  const shift = ops.embedding(ids, table, { addend: ops.timestepEmbedding(ids, 8) });
  let x = ops.conv2d(image, filter, { bias, shift, padding: 1 });
  x = ops.conv2d(x, wide, { bias, skip: image, residual: x, padding: 1 });
  x = ops.groupNorm(x, gamma, beta, { groups: 2, silu: true, dropout: 0.1 });
  x = ops.downsample(ops.dropout(ops.upsample(x), 0.2));
  const tokens = ops.linear(ops.reshape(x, [2, 16, 8]), matrix, { bias });
  x = ops.add(ops.attention(tokens, tokens, ops.silu(tokens), { heads: 2 }), ops.mul(tokens, ops.scale(tokens, 2)));
  return ops.mseLoss(ops.cast(ops.cast(ops.concat(x, tokens), 'bf16'), 'f32'), device.zeros([2, 16, 16]));
}

const shapes = {
  image: [2, 4, 4, 8],
  filter: [3, 3, 8, 8],
  wide: [3, 3, 16, 8],
  bias: [8],
  gamma: [8],
  beta: [8],
  matrix: [8, 8],
  table: [10, 8],
};
type Name = keyof typeof shapes;

describe('memory of operations', () => {
  test('forward and backward within a scope leave nothing behind', async () => {
    const parameters = Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, parameter(...shape)])) as Record<
      Name,
      Parameter
    >;
    const ids = device.tensor(Int32Array.of(3, 7), [2]);
    device.seedState();
    const before = usedBytes();
    for (let i = 0; i < 3; i++) device.scope(() => backward(loss(parameters, ids)));
    expect(usedBytes()).toBe(before);
    device.scope(() => {
      loss(parameters, ids); // a graph that is never used
    });
    expect(usedBytes()).toBeGreaterThan(before);
    for (const one of Object.values(parameters)) {
      const gradient = (await one.grad.read()) as Float32Array;
      expect(gradient.every(Number.isFinite) && gradient.some((value) => value !== 0)).toBe(true);
    }
  });

  test('without gradients nothing but the output stays', () => {
    const [x, six] = [device.zeros([2, 4, 6]), device.zeros([6])];
    const before = usedBytes();
    const outputs = [
      ops.groupNorm(x, six, six, { groups: 2, dropout: 0.5, seed: 1 }),
      ops.attention(x, x, x),
      ops.mseLoss(x, x),
      ops.dropout(x, 0.5, { seed: 1 }),
    ];
    for (const output of outputs) output.dispose();
    expect(usedBytes()).toBe(before);
  });

  test('only what the backward pass reads is kept', () => {
    const kept = (run: () => Tensor): number => {
      const before = usedBytes();
      const y = run();
      const own = usedBytes() - before;
      y.dispose();
      return own;
    };
    const x = (): Tensor => device.zeros([1, 64, 64, 4]); // 64 KiB
    const [weight, bias] = [parameter(1, 1, 4, 4), parameter(4)];
    const once = (value: (x: Tensor) => Tensor) => () => {
      const input = x();
      const y = value(input);
      input.dispose();
      return y;
    };
    const size = 64 * 64 * 4 * 4;
    const both = kept(once((input) => ops.conv2d(input, weight, { bias })));
    const biasAlone = kept(once((input) => ops.conv2d(input, weight.value.alias(), { bias })));
    expect(both).toBeGreaterThanOrEqual(2 * size);
    expect(biasAlone).toBeLessThan(2 * size);
  });

  test('a refused call allocates nothing', () => {
    const x = device.zeros([2, 4, 6]);
    const gain = parameter(6);
    const before = usedBytes();
    const wrong = { groups: 2, dropout: 0.5, stream: -1 };
    expect(() => ops.groupNorm(x, gain, gain, wrong)).toThrow(OptionError);
    expect(() => ops.attention(x, x, x, { heads: 4 })).toThrow(ShapeError);
    expect(() => ops.linear(x, gain)).toThrow(ShapeError);
    expect(usedBytes()).toBe(before);
  });
});
