import { test } from 'vitest';
import { conv2d } from '../../lib/ops/conv2d.js';
import { eachDevice } from '../support/devices.js';
import { checkOperation } from '../support/operation.js';
import * as reference from '../support/reference.js';

type Four = [number, number, number, number];

/** Filters of every kind: odd, even, not square, with strides up to four and four different paddings. */
const cases: [shape: Four, filter: [number, number], stride: number, padding: Four][] = [
  [[1, 7, 5, 3], [1, 1], 2, [0, 0, 0, 0]],
  [[1, 7, 5, 3], [2, 2], 2, [0, 0, 0, 0]],
  [[2, 6, 5, 3], [2, 2], 1, [1, 0, 0, 1]],
  [[1, 8, 7, 3], [4, 4], 2, [1, 1, 1, 1]],
  [[1, 8, 8, 3], [4, 4], 4, [0, 0, 0, 0]],
  [[1, 7, 5, 3], [5, 5], 1, [2, 2, 2, 2]],
  [[1, 7, 9, 2], [5, 5], 3, [2, 0, 1, 3]],
  [[1, 7, 5, 3], [7, 7], 1, [3, 3, 3, 3]],
  [[1, 9, 8, 2], [7, 7], 2, [3, 3, 3, 3]],
  [[2, 5, 7, 3], [1, 3], 1, [0, 1, 0, 1]],
  [[1, 7, 5, 3], [3, 2], 4, [0, 2, 1, 0]],
  [[1, 5, 4, 2], [3, 3], 3, [2, 2, 2, 2]],
];

eachDevice((id, open) => {
  test.each(cases)(`conv2d on ${id}: %j, filter %j, stride %i, padding %j`, async (shape, filter, stride, padding) => {
    const weightShape: Four = [...filter, shape[3], 4];
    const of = { shape, weightShape, stride, padding };
    const result = reference.convolutionShape({ ...of, x: [], weight: [] });
    await checkOperation(await open(), {
      inputs: { x: shape, weight: weightShape, bias: [4] },
      shape: result,
      terms: Math.max(filter[0] * filter[1] * 4 * 4, result[0] * result[1] * result[2]),
      run: ({ x, weight, bias }) => conv2d(x, weight, { bias, stride, padding }),
      reference: ({ x, weight, bias }) => reference.conv2d({ ...of, x, weight, bias }),
    });
  });
});
