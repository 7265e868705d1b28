import { expect, test } from 'vitest';
import { backward } from '../../lib/autograd/backward.js';
import { Parameter } from '../../lib/autograd/parameter.js';
import { OptionError, ShapeError } from '../../lib/errors.js';
import * as ops from '../../lib/ops/index.js';
import { eachDevice } from '../support/devices.js';
import { checkOperation } from '../support/operation.js';
import { mean, type Pooling, pool, pooledShape } from '../support/referencePooling.js';

const cases: Pooling[] = [
  { shape: [2, 6, 4, 3], kernel: [2, 2], stride: [2, 2], padding: [0, 0, 0, 0] },
  { shape: [1, 7, 5, 3], kernel: [2, 2], stride: [2, 2], padding: [0, 0, 0, 0] },
  { shape: [1, 7, 5, 1], kernel: [3, 3], stride: [2, 2], padding: [1, 1, 1, 1] },
  { shape: [2, 5, 7, 8], kernel: [3, 2], stride: [1, 3], padding: [2, 0, 1, 1] },
  { shape: [1, 3, 4, 70], kernel: [3, 4], stride: [1, 1], padding: [0, 0, 0, 0] },
  { shape: [1, 4, 3, 2], kernel: [1, 1], stride: [2, 2], padding: [0, 0, 0, 0] },
];

const text = ({ shape, kernel, stride, padding }: Pooling) =>
  `[${shape}], kernel ${kernel}, stride ${stride}, padding ${padding}`;

eachDevice((id, open) => {
  for (const one of cases) {
    const { shape, kernel, stride, padding } = one;

    for (const countIncludePad of [true, false])
      test(`avgPool2d on ${id}: ${text(one)}, ${countIncludePad}`, async () => {
        const count = countIncludePad ? kernel[0] * kernel[1] : undefined;
        await checkOperation(await open(), {
          inputs: { x: shape },
          shape: pooledShape(one),
          terms: kernel[0] * kernel[1],
          run: ({ x }) => ops.avgPool2d(x, kernel, { stride, padding, countIncludePad }),
          reference: ({ x }) => pool(x, one, (values) => mean(values, count)),
        });
      });

    test(`maxPool2d on ${id}: ${text(one)}`, async () => {
      await checkOperation(await open(), {
        inputs: { x: shape },
        shape: pooledShape(one),
        terms: kernel[0] * kernel[1],
        run: ({ x }) => ops.maxPool2d(x, kernel, { stride, padding }),
        reference: ({ x }) => pool(x, one, (values) => Math.max(...values)),
      });
    });
  }

  test(`pooling on ${id}: the kernel is the stride when that is left out, numbers stand for all sides`, async () => {
    const device = await open();
    const x = device.randn([2, 7, 6, 3], { seed: 1 });
    for (const pooled of [ops.avgPool2d, ops.maxPool2d] as const) {
      const y = pooled(x, 3, { padding: 1 });
      expect(y.shape).toEqual([2, 3, 2, 3]);
      expect(await y.read()).toEqual(await pooled(x, [3, 3], { stride: [3, 3], padding: [1, 1, 1, 1] }).read());
    }
  });

  test(`maxPool2d on ${id}: the first of equal values has the gradient, also far into a large window`, async () => {
    const device = await open();
    const values = new Float32Array(20 * 20).fill(Number.NEGATIVE_INFINITY);
    const gradient = async (shape: number[], kernel: number) => {
      const x = new Parameter('x', shape, 'plain', device.tensor(values, shape), device.zeros(shape));
      backward(ops.maxPool2d(x, kernel));
      return [...(await x.grad.read()).entries()].filter(([, value]) => value !== 0);
    };
    expect(await gradient([1, 20, 20, 1], 20)).toEqual([[0, 1]]);
    values[20 * 17 + 3] = values[20 * 17 + 9] = 7;
    expect(await gradient([1, 20, 20, 1], 20)).toEqual([[20 * 17 + 3, 1]]);
  });

  test(`pooling on ${id}: NaN and infinities come through`, async () => {
    const device = await open();
    const x = device.tensor([1, Number.NaN, 2, 3, Number.POSITIVE_INFINITY, 4, Number.NEGATIVE_INFINITY, 5], [1, 1, 8, 1]);
    const { NaN: nan, POSITIVE_INFINITY: large, NEGATIVE_INFINITY: small } = Number;
    expect([...(await ops.maxPool2d(x, [1, 2]).read())]).toEqual([nan, 3, large, 5]);
    expect([...(await ops.avgPool2d(x, [1, 2]).read())]).toEqual([nan, 2.5, large, small]);
  });

  test(`pooling on ${id} refuses windows that do not fit`, async () => {
    const device = await open();
    const x = device.zeros([1, 4, 5, 2]);
    expect(() => ops.avgPool2d(x, 5)).toThrow(
      /avgPool2d: the kernel of 5 × 5 is larger than x \[1,4,5,2\], padded to 4 × 5 pixels/,
    );
    expect(() => ops.maxPool2d(x, [1, 6])).toThrow(ShapeError);
    for (const kernel of [0, 1.5, [2], '2', undefined]) {
      expect(() => ops.avgPool2d(x, kernel as never)).toThrow(/avgPool2d: option 'kernel' must be an integer of at least 1/);
      expect(() => ops.maxPool2d(x, kernel as never)).toThrow(OptionError);
    }
    expect(() => ops.maxPool2d(x, 2, { padding: 2 })).toThrow(
      /maxPool2d: option 'padding' must be smaller than the kernel of 2 × 2/,
    );
  });
});
