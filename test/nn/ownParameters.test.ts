import { expect, test } from 'vitest';
import { backward } from '../../lib/autograd/backward.js';
import { Parameter } from '../../lib/autograd/parameter.js';
import { OptionError, ShapeError } from '../../lib/errors.js';
import * as ops from '../../lib/ops/index.js';
import { AdamW } from '../../lib/training/adamW.js';
import { eachDevice } from '../support/devices.js';

eachDevice((id, open) => {
  test(`a parameter of one's own on ${id}: kind by its axes, PyTorch's layout outside`, async () => {
    const device = await open();
    const values = Float32Array.from({ length: 2 * 3 * 5 * 4 }, (_, i) => i);
    const conv = new Parameter(device, [2, 3, 5, 4], { init: values, name: 'first' });
    expect([conv.name, conv.kind, conv.value.shape]).toEqual(['first', 'conv', [5, 4, 3, 2]]);
    expect(await conv.read()).toEqual(values);
    const linear = new Parameter(device, [2, 3]);
    expect([linear.name, linear.kind, linear.value.shape]).toEqual(['parameter', 'linear', [3, 2]]);
    const table = new Parameter(device, [4, 3], { kind: 'plain' });
    expect([table.value.shape, [...(await table.read())]]).toEqual([[4, 3], new Array(12).fill(0)]);
    expect([...(await new Parameter(device, [3], { init: 1 }).read())]).toEqual([1, 1, 1]);
  });

  test(`a parameter of given tensors on ${id}: value and gradient are not the same memory`, async () => {
    const device = await open();
    const value = device.full([2, 3], 1);
    expect(() => new Parameter('p', [2, 3], 'plain', value, value)).toThrow(OptionError);
    expect(() => new Parameter('p', [6], 'plain', value, ops.reshape(value, [6]))).toThrow(/'p': value and grad must not be/);
    const late = new Parameter('late', [2, 3], 'plain', value, () => ops.reshape(value, [2, 3]));
    expect(() => late.grad).toThrow(OptionError);
    expect([...(await value.read())]).toEqual(new Array(6).fill(1));
  });

  test(`a parameter of one's own on ${id}: random beginnings`, async () => {
    const device = await open();
    const bound = 1 / Math.sqrt(9 * 16);
    const usual = await new Parameter(device, [64, 16, 3, 3], { seed: 1 }).read();
    expect(usual.every((value) => Math.abs(value) <= bound)).toBe(true);
    // Standard errors of the second moment of uniform and normal values, four of them.
    const square = (values: Float32Array) => values.reduce((sum, value) => sum + value * value, 0) / values.length;
    expect(Math.abs(square(usual) - bound ** 2 / 3)).toBeLessThan((4 * bound ** 2 * Math.sqrt(4 / 45)) / Math.sqrt(usual.length));
    const normal = await new Parameter(device, [64, 128], { init: { normal: 0.02 }, seed: 1 }).read();
    expect(Math.abs(square(normal) - 0.0004)).toBeLessThan((4 * 0.0004 * Math.SQRT2) / Math.sqrt(normal.length));
    expect(await new Parameter(device, [64, 16, 3, 3], { seed: 1 }).read()).toEqual(usual);
    const [one, other] = [new Parameter(device, [4, 4]), new Parameter(device, [4, 4])];
    expect(await one.read()).not.toEqual(await other.read());
    expect((await new Parameter(device, [5], { init: { uniform: 0 } }).read()).every((value) => value === 0)).toBe(true);
  });

  test(`a parameter of one's own on ${id} outlives the scope that it was made in, and is trained`, async () => {
    const device = await open();
    const weight = device.scope(() => new Parameter(device, [1, 2], { init: 1 }));
    const optimizer = new AdamW(new Map([['weight', weight]]), { learningRate: 0.1, weightDecay: 0 });
    device.scope(() => backward(ops.sum(ops.linear(device.tensor([3, -4], [1, 2]), weight))));
    expect([...(await weight.readGrad())]).toEqual([3, -4]);
    optimizer.step();
    const [first, second] = await weight.read();
    expect(first).toBeCloseTo(0.9, 5);
    expect(second).toBeCloseTo(1.1, 5);
  });

  test(`a parameter of one's own on ${id}: what is wrong is named`, async () => {
    const device = await open();
    expect(() => new Parameter(device, [2, 3], { kind: 'conv' })).toThrow(/'conv' is for 4 axes, got shape \[2,3\]/);
    expect(() => new Parameter(device, [2, 0])).toThrow(ShapeError);
    expect(() => new Parameter(device, [2], { init: new Float32Array(3) })).toThrow(
      /'init' must hold 2 values for shape \[2\], got 3/,
    );
    for (const wrong of [
      { init: Number.NaN },
      { init: { normal: -1 } },
      { init: 'zeros' },
      { seed: -1 },
      { kind: 'x' },
      { std: 1 },
    ])
      expect(() => new Parameter(device, [2], wrong as never)).toThrow(OptionError);
  });
});
