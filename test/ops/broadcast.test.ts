import { expect, test } from 'vitest';
import { backward } from '../../lib/autograd/backward.js';
import { Parameter } from '../../lib/autograd/parameter.js';
import { ShapeError } from '../../lib/errors.js';
import * as ops from '../../lib/ops/index.js';
import { relL2 } from '../support/compare.js';
import { eachDevice, openForBf16 } from '../support/devices.js';
import { checkOperation } from '../support/operation.js';
import { sizeOf, tolerance } from '../support/values.js';

/** The element of a repeated tensor that goes with element i of `shape`. */
function sourceOf(i: number, shape: readonly number[], small: readonly number[]): number {
  let [rest, source, step] = [i, 0, 1];
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const length = small[axis - shape.length + small.length] ?? 1;
    const at = rest % (shape[axis] as number);
    rest = Math.floor(rest / (shape[axis] as number));
    if (length > 1) source += at * step;
    step *= length;
  }
  return source;
}

const runs = { add: ops.add, sub: ops.sub, mul: ops.mul, sum: ops.sum, mean: ops.mean };

const operations = {
  add: (a: number, b: number) => a + b,
  sub: (a: number, b: number) => a - b,
  mul: (a: number, b: number) => a * b,
};

const pairs: [a: number[], b: number[], y: number[]][] = [
  [
    [2, 3, 5, 4],
    [2, 1, 1, 4],
    [2, 3, 5, 4],
  ],
  [[1, 7, 5, 3], [3], [1, 7, 5, 3]],
  [[2, 3, 2], [1], [2, 3, 2]],
  [[1], [5, 2], [5, 2]],
  [
    [2, 1, 3],
    [4, 1],
    [2, 4, 3],
  ],
  [
    [3, 1, 2, 1, 2, 1],
    [1, 2, 1, 3, 1, 2],
    [3, 2, 2, 3, 2, 2],
  ],
];

eachDevice((id, open) => {
  for (const [name, of] of Object.entries(operations) as [keyof typeof operations, (a: number, b: number) => number][])
    test.each(pairs)(`${name} on ${id}: broadcast of %j and %j`, async (a, b, shape) => {
      await checkOperation(await open(), {
        inputs: { a, b },
        shape,
        terms: sizeOf(shape),
        run: (t) => runs[name](t.a, t.b),
        reference: (v) =>
          Array.from({ length: sizeOf(shape) }, (_, i) =>
            of(v.a[sourceOf(i, shape, a)] as number, v.b[sourceOf(i, shape, b)] as number),
          ),
      });
    });

  test(`add on ${id} names shapes that do not go together`, async () => {
    const device = await open();
    expect(() => ops.add(device.zeros([2, 3]), device.zeros([2, 4]))).toThrow(ShapeError);
    expect(() => ops.mul(device.zeros([2, 3]), device.zeros([2]))).toThrow(/mul: b \[2\] does not go with a \[2,3\]/);
  });

  for (const operation of ['sum', 'mean'] as const)
    test.each<[number[], number[], number[], number[]]>([
      [
        [2, 3, 5, 4],
        [1, 2],
        [2, 4],
        [2, 1, 1, 4],
      ],
      [[1, 7, 5, 3], [-1], [1, 7, 5], [1, 7, 5, 1]],
      [[4, 3, 2], [0], [3, 2], [1, 3, 2]],
      [[4, 3, 2], [0, 2], [3], [1, 3, 1]],
      [[4, 3], [0, 1], [1], [1, 1]],
      [
        [2, 3, 2, 2, 3, 2],
        [1, 3, 5],
        [2, 2, 3],
        [2, 1, 2, 1, 3, 1],
      ],
    ])(`${operation} on ${id}: of %j over %j`, async (shape, axes, result, kept) => {
      const count = sizeOf(shape) / sizeOf(kept);
      for (const keepDims of [false, true])
        await checkOperation(await open(), {
          inputs: { x: shape },
          shape: keepDims ? kept : result,
          terms: sizeOf(shape),
          prepare: { x: (value) => Math.fround(value + 3) }, // away from sums of zero, whose relative error has no bound
          run: ({ x }) => runs[operation](x, { axes, keepDims }),
          reference: ({ x }) => {
            const y = new Float64Array(sizeOf(kept));
            for (const [i, value] of x.entries()) y[sourceOf(i, shape, kept)] = (y[sourceOf(i, shape, kept)] as number) + value;
            return operation === 'mean' ? y.map((value) => value / count) : y;
          },
        });
    });

  test(`sum on ${id}: reduceSum over many rows and over long ones, in several blocks`, async () => {
    const device = await open();
    for (const [shape, axes] of [
      [[3, 1100, 5], 1],
      [[2, 70_003], 1],
      [
        [1500, 3, 2],
        [0, 2],
      ],
    ] as [number[], number | number[]][]) {
      const x = device.randn(shape, { seed: 2 });
      const values = await ops.scale(x, 1, 5).read();
      const kept = shape.map((axis, i) => ([axes].flat().includes(i) ? 1 : axis));
      const expected = new Float64Array(sizeOf(kept));
      for (const [i, value] of values.entries())
        expected[sourceOf(i, shape, kept)] = (expected[sourceOf(i, shape, kept)] as number) + value;
      const y = await ops.sum(device.tensor(values, shape), { axes }).read();
      expect(relL2(y, expected), `[${shape}]`).toBeLessThan(tolerance(1));
    }
  });

  test(`mul on ${id}: a parameter beside bf16 keeps its own precision and has its gradient in f32`, async (context) => {
    const device = await openForBf16(open, context);
    const scale = new Parameter('scale', [2], 'plain', device.tensor([1 + 2 ** -12, 2], [2]), device.zeros([2]));
    const x = ops.cast(device.tensor([1, 2, 3, 4], [2, 2]), 'bf16');
    for (const y of [ops.mul(x, scale), ops.mul(scale, x)]) {
      expect(y.dtype).toBe('bf16');
      expect([...(await y.read())]).toEqual([1, 4, 3, 8]);
    }
    scale.zeroGrad();
    backward(ops.sum(ops.cast(ops.sub(scale, ops.mul(x, scale)), 'f32')));
    expect([...(await scale.grad.read())]).toEqual([2 - 4, 2 - 6]);
  });

  test(`sum and mean on ${id} refuse axes that are not there`, async () => {
    const device = await open();
    const x = device.zeros([2, 3]);
    for (const axes of [2, -3, 0.5, [0, -2], 'x', null])
      expect(() => ops.sum(x, { axes: axes as never })).toThrow(/sum: option 'axes' must be different integers in \[-2, 2\)/);
    expect(() => ops.mean(x, { axes: 5 })).toThrow(/mean: option 'axes'/);
    expect(() => ops.mean(x, { axis: 1 } as never)).toThrow(/mean: unknown option 'axis'/);
  });
});
