import { test } from 'vitest';
import * as ops from '../../lib/ops/index.js';
import { eachDevice } from '../support/devices.js';
import { checkOperation } from '../support/operation.js';
import * as reference from '../support/reference.js';

type Four = [number, number, number, number];

eachDevice((id, open) => {
  test.each<Four>([
    [3, 5, 7, 3],
    [1, 1, 1, 1],
    [2, 1, 4, 5],
  ])(`upsample on ${id}: %i × %i × %i × %i`, async (...shape) => {
    const [n, h, w, c] = shape;
    await checkOperation(await open(), {
      inputs: { x: shape },
      shape: [n, 2 * h, 2 * w, c],
      terms: 4,
      run: ({ x }) => ops.upsample(x),
      reference: ({ x }) => reference.upsample(x, shape),
    });
  });

  test.each<Four>([
    [3, 4, 6, 5],
    [1, 2, 2, 1],
  ])(`downsample on ${id}: %i × %i × %i × %i`, async (...shape) => {
    const [n, h, w, c] = shape;
    // The mean of 2 × 2 pixels as a convolution: a filter of ¼ from each channel to itself.
    const weight = Float64Array.from({ length: 4 * c * c }, (_, i) => (Math.floor(i / c) % c === i % c ? 0.25 : 0));
    await checkOperation(await open(), {
      inputs: { x: shape },
      shape: [n, h / 2, w / 2, c],
      terms: 4,
      run: ({ x }) => ops.downsample(x),
      reference: ({ x }) => reference.conv2d({ x, shape, weight, weightShape: [2, 2, c, c], stride: 2 }),
    });
  });
});
