import { expect, test } from 'vitest';
import { DTypeError, OptionError, ShapeError } from '../../lib/errors.js';
import * as ops from '../../lib/ops/index.js';
import { eachDevice } from '../support/devices.js';

/** What is refused beyond tensors and options by themselves: shapes that do not go together, plain arguments. */
eachDevice((id, open) => {
  test(`conv2d on ${id} names the shapes that do not fit`, async () => {
    const device = await open();
    const x = device.zeros([2, 4, 5, 3]);
    const weight = device.zeros([3, 3, 3, 6]);
    expect(() => ops.conv2d(x, device.zeros([3, 3, 4, 6]))).toThrow(/weight \[3,3,4,6\] takes 4 channels, x \[2,4,5,3\] has 3/);
    expect(() => ops.conv2d(x, device.zeros([5, 5, 3, 1]))).toThrow(/larger than the padded image of 4 × 5 pixels/);
    expect(() => ops.conv2d(x, weight, { skip: device.zeros([2, 4, 4, 2]) })).toThrow(ShapeError);
    expect(() => ops.conv2d(x, weight, { shift: device.zeros([6]) })).toThrow(/shift must have shape \[2,6\], got \[6\]/);
    expect(() => ops.conv2d(x, weight, { residual: device.zeros([2, 4, 5, 6]) })).toThrow(/residual must have shape \[2,2,3,6\]/);
  });

  test(`groups and heads on ${id} divide the channels`, async () => {
    const device = await open();
    const x = device.zeros([2, 4, 6]);
    const six = device.zeros([6]);
    expect(() => ops.groupNorm(x, six, six, { groups: 4 })).toThrow(/groupNorm: groups = 4 does not divide 6 channels/);
    expect(() => ops.groupNorm(device.zeros([6]), six, six, { groups: 3 })).toThrow(ShapeError);
    expect(() => ops.attention(x, x, x, { heads: 4 })).toThrow(/attention: heads = 4 does not divide 6 channels/);
  });

  test(`plain arguments on ${id}`, async () => {
    const device = await open();
    const x = device.zeros([2, 3]);
    const image = device.zeros([1, 3, 4, 1]);
    for (const p of [-0.1, 1, Number.NaN, '0.5' as never]) expect(() => ops.dropout(x, p)).toThrow(OptionError);
    for (const factor of [Number.NaN, Number.POSITIVE_INFINITY, '2' as never]) {
      expect(() => ops.scale(x, factor)).toThrow(/scale: option 'factor'/);
      expect(() => ops.scale(x, 1, factor)).toThrow(/scale: option 'offset'/);
    }
    for (const dim of [0, 2.5, '8' as never]) expect(() => ops.timestepEmbedding(x, dim)).toThrow(OptionError);
    expect(() => ops.timestepEmbedding(x, 8)).toThrow(/t must have 1 axes, got shape \[2,3\]/);
    expect(() => ops.reshape(x, [4])).toThrow(/reshape: \[4\] has 4 elements, x \[2,3\] has 6/);
    for (const shape of [[], [0, 6], [-2, -3], [1.5, 4], 6 as never]) expect(() => ops.reshape(x, shape)).toThrow(ShapeError);
    for (const dtype of ['f64', 'toString', 1, undefined]) expect(() => ops.cast(x, dtype as never)).toThrow(DTypeError);
    expect(() => ops.downsample(image)).toThrow(/downsample: height and width of x must be even, got shape \[1,3,4,1\]/);
  });

  test.each([[null], [5], ['x'], [[]]])(`options of the wrong kind on ${id}: %j`, async (options) => {
    const device = await open();
    const x = device.zeros([2, 3]);
    expect(() => ops.linear(x, device.zeros([3, 4]), options as never)).toThrow(/linear: options must be an object/);
  });

  test(`a tensor in the place of options on ${id}`, async () => {
    const device = await open();
    const bias = device.zeros([4]);
    expect(() => ops.linear(device.zeros([2, 3]), device.zeros([3, 4]), bias as never)).toThrow(
      /linear: options must be an object, got a Tensor/,
    );
  });
});
