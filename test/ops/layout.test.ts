import { expect, test } from 'vitest';
import { backward } from '../../lib/autograd/backward.js';
import { Parameter } from '../../lib/autograd/parameter.js';
import * as ops from '../../lib/ops/index.js';
import { eachDevice } from '../support/devices.js';
import { checkOperation } from '../support/operation.js';
import { concat } from '../support/reference.js';

eachDevice((id, open) => {
  test.each([
    { front: [2, 3, 5], a: 3, b: 4 },
    { front: [7], a: 1, b: 1 },
    { front: [1, 9], a: 5, b: 2 },
  ])(`concat on ${id}: $front × ($a + $b)`, async ({ front, a, b }) => {
    await checkOperation(await open(), {
      inputs: { x: [...front, a], z: [...front, b] },
      shape: [...front, a + b],
      terms: 1,
      run: ({ x, z }) => ops.concat(x, z),
      reference: ({ x, z }) => concat(x, a, z, b),
    });
  });

  test(`concat on ${id}: one-dimensional`, async () => {
    const device = await open();
    expect([...(await ops.concat(device.tensor([1, 2], [2]), device.tensor([3], [1])).read())]).toEqual([1, 2, 3]);
  });

  test(`reshape on ${id}`, async () => {
    await checkOperation(await open(), {
      inputs: { x: [2, 3, 5] },
      shape: [6, 5],
      terms: 1,
      run: ({ x }) => ops.reshape(x, [6, 5]),
      reference: ({ x }) => x,
    });
  });

  test(`reshape on ${id}: shares memory, keeps the element type`, async () => {
    const device = await open();
    const x = device.tensor(Int32Array.of(1, 2, 3, 4), [4]);
    const y = ops.reshape(x, [2, 2]);
    x.write([5, 6, 7, 8]);
    x.dispose();
    expect(await y.read()).toEqual(Int32Array.of(5, 6, 7, 8));
  });

  test(`cast on ${id}: rounds to nearest even, saturates, turns NaN into 0`, async () => {
    const device = await open();
    const x = device.tensor([0.5, 1.5, 2.5, -3.7, 300, -1e20, 1e20, Number.NaN], [8]);
    expect([...(await ops.cast(x, 'i32').read())]).toEqual([0, 2, 2, -4, 300, -2147483648, 2147483647, 0]);
    expect([...(await ops.cast(x, 'u8').read())]).toEqual([0, 2, 2, 0, 255, 0, 255, 0]);
    const bytes = device.tensor(Uint8Array.of(0, 7, 255), [3]);
    expect([...(await ops.cast(bytes, 'f32').read())]).toEqual([0, 7, 255]);
    // bf16 has eight bits of significand: neighbours of 1 are 2^-7 apart, ties go to the even one.
    const fine = device.tensor([1 + 2 ** -8, 1 + 3 * 2 ** -8, 1 + 2 ** -8 + 2 ** -20, -1 - 2 ** -9], [4]);
    expect([...(await ops.cast(ops.cast(fine, 'bf16'), 'f32').read())]).toEqual([1, 1 + 2 ** -6, 1 + 2 ** -7, -1]);
  });

  test(`cast on ${id}: the gradient passes through bf16`, async () => {
    const device = await open();
    const x = new Parameter('x', [3], 'plain', device.tensor([1, 2, 3], [3]), device.zeros([3]));
    backward(ops.mean(ops.mul(ops.cast(ops.cast(x, 'bf16'), 'f32'), device.tensor([3, 6, -9], [3]))));
    expect([...(await x.grad.read())]).toEqual([1, 2, -3]);
  });

  test.each([
    { order: [0, 3, 1, 2], shape: [2, 3, 5, 4] },
    { order: [3, 1, 0, 2], shape: [5, 1, 3, 7] },
    { order: [0, 1, 2, 3], shape: [1, 2, 3, 4] },
  ])(`permute on ${id}: $order of $shape`, async ({ order, shape }) => {
    const device = await open();
    const x = Int32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => i);
    const moved = order.map((axis) => shape[axis] as number);
    const y = device.empty(moved, 'i32');
    device.native.permute(device.tensor(x, shape).handle, y.handle, ...order);
    const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1));
    const expected = Int32Array.from(x, (_, i) => {
      let rest = i;
      let source = 0;
      for (let axis = 3; axis >= 0; axis--) {
        source += (rest % (moved[axis] as number)) * (strides[order[axis] as number] as number);
        rest = Math.floor(rest / (moved[axis] as number));
      }
      return source;
    });
    expect(await y.read()).toEqual(expected);
  });

  test(`fill on ${id}: every element type`, async () => {
    const device = await open();
    for (const dtype of ['f32', 'bf16', 'u8', 'i32'] as const)
      expect([...(await device.full([5], 3, { dtype }).read())]).toEqual([3, 3, 3, 3, 3]);
  });
});
