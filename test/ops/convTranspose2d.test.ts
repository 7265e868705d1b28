import { expect, test } from 'vitest';
import * as ops from '../../lib/ops/index.js';
import { eachDevice } from '../support/devices.js';
import { checkOperation } from '../support/operation.js';
import * as reference from '../support/reference.js';

type Four = [number, number, number, number];

interface Geometry {
  x: Four;
  k: number;
  filter: [number, number];
  stride?: number;
  padding?: number | Four;
  more?: number | [number, number];
}

const cases: Geometry[] = [
  { x: [1, 7, 5, 3], k: 4, filter: [3, 3], padding: 1 },
  { x: [2, 3, 4, 3], k: 5, filter: [4, 4], stride: 2, padding: 1 },
  { x: [2, 3, 2, 5], k: 2, filter: [2, 2], stride: 2 },
  { x: [1, 3, 4, 2], k: 3, filter: [3, 3], stride: 2, padding: 1, more: 1 },
  { x: [1, 2, 3, 3], k: 2, filter: [5, 3], stride: 3, padding: [2, 0, 1, 1], more: [2, 0] },
  { x: [2, 1, 1, 4], k: 3, filter: [4, 4] },
  { x: [1, 3, 2, 1], k: 1, filter: [1, 1], stride: 4, more: 3 },
];

eachDevice((id, open) => {
  for (const { x, k, filter, stride = 1, padding = 0, more = 0 } of cases)
    test(`convTranspose2d on ${id}: [${x}] with ${filter}, stride ${stride}, padding ${padding}, ${more} more`, async () => {
      const sides: Four = Array.isArray(padding) ? padding : [padding, padding, padding, padding];
      const [below, beside] = Array.isArray(more) ? more : [more, more];
      const [n, h, w, c] = x;
      const shape: Four = [
        n,
        (h - 1) * stride - sides[0] - sides[2] + filter[0] + below,
        (w - 1) * stride - sides[1] - sides[3] + filter[1] + beside,
        k,
      ];
      const weightShape: Four = [...filter, k, c];
      await checkOperation(await open(), {
        inputs: { x, weight: weightShape, bias: [k] },
        shape,
        terms: Math.max(filter[0] * filter[1] * c, n * h * w * 4, shape[0] * shape[1] * shape[2]),
        run: ({ x, weight, bias }) => ops.convTranspose2d(x, weight, { bias, stride, padding, outputPadding: more }),
        reference: ({ x: values, weight, bias }) => {
          const zeros = new Float64Array(shape.reduce((a, b) => a * b));
          const { dx } = reference.conv2dBackward({ x: zeros, shape, weight, weightShape, stride, padding: sides }, values);
          return dx.map((value, i) => value + (bias[i % k] as number));
        },
      });
    });

  test(`convTranspose2d on ${id} names what does not fit`, async () => {
    const device = await open();
    const x = device.zeros([1, 3, 3, 2]);
    const weight = device.zeros([3, 3, 4, 2]);
    expect(() => ops.convTranspose2d(x, device.zeros([3, 3, 2, 4]))).toThrow(
      /weight \[3,3,2,4\] takes 4 channels, x \[1,3,3,2\] has 2/,
    );
    expect(() => ops.convTranspose2d(x, weight, { bias: device.zeros([2]) })).toThrow(/bias must have shape \[4\], got \[2\]/);
    expect(() => ops.convTranspose2d(x, weight, { padding: 3 })).toThrow(/'padding' leaves nothing of the output/);
    expect(() => ops.convTranspose2d(x, weight, { stride: 2, outputPadding: 2 })).toThrow(
      /'outputPadding' must be .* below the stride of 2/,
    );
  });
});
