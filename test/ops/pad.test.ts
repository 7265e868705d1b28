import { expect, test } from 'vitest';
import { backward } from '../../lib/autograd/backward.js';
import { Parameter } from '../../lib/autograd/parameter.js';
import { OptionError, ShapeError } from '../../lib/errors.js';
import * as ops from '../../lib/ops/index.js';
import { eachDevice } from '../support/devices.js';
import { checkOperation } from '../support/operation.js';
import { sizeOf } from '../support/values.js';

/** Places of a shape, in order. */
function* places(shape: readonly number[]): Generator<number[]> {
  for (let i = 0; i < sizeOf(shape); i++) {
    let rest = i;
    yield shape.map((_, axis) => {
      const below = sizeOf(shape.slice(axis + 1));
      const at = Math.floor(rest / below);
      rest %= below;
      return at;
    });
  }
}

/** y[i] = x[i − before], `value` elsewhere. */
function box(x: ArrayLike<number>, from: readonly number[], to: readonly number[], before: readonly number[], value = 0) {
  return Array.from(places(to), (place) => {
    const source = place.map((at, axis) => at - (before[axis] as number));
    if (source.some((at, axis) => at < 0 || at >= (from[axis] as number))) return value;
    return x[source.reduce((sum, at, axis) => sum * (from[axis] as number) + at, 0)] as number;
  });
}

eachDevice((id, open) => {
  test.each<[number[], ops.Padding, number[], number[]]>([
    [[1, 7, 5, 3], 1, [1, 9, 7, 3], [0, 1, 1, 0]],
    [
      [2, 3, 4, 8],
      [0, 2, 1, 3],
      [2, 4, 9, 8],
      [0, 0, 2, 0],
    ],
    [[3], [[2, 1]], [6], [2]],
    [
      [2, 3, 2],
      [
        [1, 0],
        [0, 0],
        [0, 3],
      ],
      [3, 3, 5],
      [1, 0, 0],
    ],
    [
      [2, 1, 2, 1, 2, 2],
      [
        [0, 0],
        [1, 0],
        [0, 1],
        [0, 0],
        [1, 1],
        [0, 0],
      ],
      [2, 2, 3, 1, 4, 2],
      [0, 1, 0, 0, 1, 0],
    ],
  ])(`pad on ${id}: %j by %j`, async (shape, padding, padded, before) => {
    for (const value of [0, -1.5])
      await checkOperation(await open(), {
        inputs: { x: shape },
        shape: padded,
        terms: 1,
        run: ({ x }) => ops.pad(x, padding, { value }),
        reference: ({ x }) => box(x, shape, padded, before, value),
      });
  });

  test.each<[number[], number, number, number | undefined, number[], number[]]>([
    [[2, 3, 5], 2, 1, 4, [2, 3, 3], [0, 0, -1]],
    [[4, 3, 2], 0, -2, undefined, [2, 3, 2], [-2, 0, 0]],
    [[1, 7, 5, 3], -2, 0, -1, [1, 7, 4, 3], [0, 0, 0, 0]],
    [[6], 0, 2, 100, [4], [-2]],
  ])(`slice on ${id}: %j, axis %i, [%i, %o)`, async (shape, axis, start, end, left, before) => {
    await checkOperation(await open(), {
      inputs: { x: shape },
      shape: left,
      terms: 1,
      run: ({ x }) => ops.slice(x, axis, start, end),
      reference: ({ x }) => box(x, shape, left, before),
    });
  });

  test.each<[number[], number | number[], number]>([
    [[2, 3, 6], 3, -1],
    [[2, 6, 3], [1, 2, 3], 1],
    [[4, 1], 2, 0],
    [[5], [5], 0],
  ])(`split on ${id}: %j into %j along %i, and together again`, async (shape, parts, axis) => {
    await checkOperation(await open(), {
      inputs: { x: shape },
      shape,
      terms: 2,
      // x comes by two ways, and one of the parts is used twice.
      run: ({ x }) => {
        const [first, ...rest] = ops.split(x, parts, axis) as [ReturnType<typeof ops.silu>];
        return ops.add(x, ops.concat([ops.mul(first, first), ...rest], axis));
      },
      reference: ({ x }) => {
        const at = axis < 0 ? axis + shape.length : axis;
        const length = Array.isArray(parts) ? (parts[0] as number) : (shape[at] as number) / parts;
        return [...places(shape)].map((place, i) => {
          const value = x[i] as number;
          return (place[at] as number) < length ? value + value * value : 2 * value;
        });
      },
    });
  });

  test(`split on ${id}: place of a part that nothing is done with is zero in the gradient`, async () => {
    const device = await open();
    const x = new Parameter('x', [4], 'plain', device.tensor([1, 2, 3, 4], [4]), device.zeros([4]));
    const [, second] = ops.split(x, 2);
    backward(ops.sum(second as ReturnType<typeof ops.silu>));
    expect([...(await x.grad.read())]).toEqual([0, 0, 1, 1]);
  });

  test.each<[number[], number[]]>([
    [
      [2, 3],
      [1, 0],
    ],
    [
      [2, 3, 4],
      [2, 0, 1],
    ],
    [
      [2, 4, 2, 3, 2, 3],
      [0, 1, 3, 2, 4, 5],
    ],
    [
      [2, 3, 2, 2, 3, 2],
      [5, 3, 1, 0, 2, 4],
    ],
    [
      [2, 3, 1, 2, 3],
      [4, 3, 2, 1, 0],
    ],
    [
      [2, 3],
      [0, 1],
    ],
  ])(`permute on ${id}: %j to %j`, async (shape, order) => {
    const moved = order.map((axis) => shape[axis] as number);
    await checkOperation(await open(), {
      inputs: { x: shape },
      shape: moved,
      terms: 1,
      run: ({ x }) => ops.permute(x, order),
      reference: ({ x }) =>
        Array.from(places(moved), (place) => {
          const source = shape.map((_, axis) => place[order.indexOf(axis)] as number);
          return x[source.reduce((sum, at, axis) => sum * (shape[axis] as number) + at, 0)] as number;
        }),
    });
  });

  test.each([
    [[2, 3, 4], 0],
    [[2, 3, 4], 1],
    [[2, 3, 4], -1],
  ])(`concat on ${id}: three of %j along %i`, async (shape, axis) => {
    const at = axis < 0 ? axis + shape.length : axis;
    const joint = shape.with(at, 3 * (shape[at] as number));
    const before = (part: number) => shape.map((length, i) => (i === at ? part * length : 0));
    await checkOperation(await open(), {
      inputs: { a: shape, b: shape, c: shape },
      shape: joint,
      terms: 1,
      run: ({ a, b, c }) => ops.concat([a, b, c], axis),
      reference: ({ a, b, c }) => {
        const parts = [a, b, c].map((one, part) => box(one, shape, joint, before(part)));
        return (parts[0] as number[]).map((_, i) => parts.reduce((sum, part) => sum + (part[i] as number), 0));
      },
    });
    const device = await open();
    const [a, b] = [device.randn(shape, { seed: 1 }), device.randn(shape, { seed: 2 })];
    expect(await ops.concat(a, b, axis).read()).toEqual(
      await ops.slice(ops.concat([a, b, a], axis), axis, 0, 2 * (shape[at] as number)).read(),
    );
    expect(await ops.transpose(a, 0, -1).read()).toEqual(await ops.permute(a, [2, 1, 0]).read());
  });

  test(`boxes on ${id} that are not there are refused`, async () => {
    const device = await open();
    const x = device.zeros([2, 3]);
    for (const padding of [
      1,
      -1,
      [[0, 0]],
      [
        [0, 0],
        [0, -1],
      ],
      [[0, 0], [1]],
      'x',
      [1, 2, 3, 4],
    ])
      expect(() => ops.pad(x, padding as never)).toThrow(/pad: option 'padding' must be \[before, after\]/);
    expect(() =>
      ops.pad(
        x,
        [
          [0, 0],
          [1, 1],
        ],
        { value: Number.NaN },
      ),
    ).toThrow(OptionError);
    expect(() => ops.slice(x, 1, 2, 2)).toThrow(/slice: nothing of axis 1 of x \[2,3\] lies in \[2, 2\)/);
    expect(() => ops.slice(x, 2, 0)).toThrow(/slice: option 'axis' must be an integer in \[-2, 2\) for shape \[2,3\], got 2/);
    expect(() => ops.slice(x, 0, 0.5)).toThrow(/slice: option 'start'/);
    for (const parts of [2, [1, 1], [4, -1], [], '3', 0]) expect(() => ops.split(x, parts as never)).toThrow(ShapeError);
    for (const order of [[0], [0, 0], [0, 2], 1]) expect(() => ops.permute(x, order as never)).toThrow(/permute: option 'order'/);
    expect(() => ops.concat([])).toThrow(/concat: option 'parts'/);
    expect(() => ops.concat([x, device.zeros([2, 4])], 0)).toThrow(/concat: parts\[1\] must have shape \[2,3\], got \[2,4\]/);
  });
});
