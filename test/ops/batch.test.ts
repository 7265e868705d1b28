import { expect, test } from 'vitest';
import type { Device } from '../../lib/device.js';
import * as ops from '../../lib/ops/index.js';
import type { Tensor } from '../../lib/tensor.js';
import { relL2 } from '../support/compare.js';
import { eachDevice } from '../support/devices.js';

const batch = 16;

/** What is computed of one batch; `first` is the number of its first sample in a larger one. */
const computations: Record<string, { sample: number[]; run(device: Device, x: Tensor, first: number): Tensor }> = {
  'conv2d 3 × 3': {
    sample: [9, 11, 13],
    run: (device, x) => ops.conv2d(x, weights(device, [3, 3, 13, 17]), { bias: weights(device, [17]), padding: 1 }),
  },
  'conv2d 1 × 1': { sample: [8, 8, 32], run: (device, x) => ops.conv2d(x, weights(device, [1, 1, 32, 64])) },
  'conv2d stride 2': {
    sample: [16, 16, 32],
    run: (device, x) => ops.conv2d(x, weights(device, [3, 3, 32, 32]), { stride: 2, padding: [0, 0, 1, 1] }),
  },
  'conv2d of large images': {
    sample: [32, 32, 64],
    run: (device, x) => ops.conv2d(x, weights(device, [3, 3, 64, 64]), { bias: weights(device, [64]), padding: 1 }),
  },
  'conv2d enlarged': {
    sample: [4, 4, 64],
    run: (device, x) => ops.conv2d(x, weights(device, [3, 3, 64, 64]), { upsample: true, padding: 1 }),
  },
  'conv2d of two inputs': {
    sample: [8, 8, 16],
    run: (device, x) => ops.conv2d(x, weights(device, [3, 3, 32, 24]), { skip: x, residual: null, padding: 1 }),
  },
  'linear of vectors': { sample: [37], run: (device, x) => ops.linear(x, weights(device, [37, 129])) },
  'linear of wide vectors': {
    sample: [512],
    run: (device, x) => ops.linear(x, weights(device, [512, 256]), { bias: weights(device, [256]) }),
  },
  'linear of tokens': { sample: [35, 48], run: (device, x) => ops.linear(x, weights(device, [48, 96])) },
  groupNorm: {
    sample: [7, 9, 24],
    run: (device, x, first) => {
      const options = { groups: 8, silu: true, dropout: 0.1, seed: 5, firstSample: first };
      return ops.groupNorm(x, weights(device, [24]), weights(device, [24]), options);
    },
  },
  attention: { sample: [67, 32], run: (_, x) => ops.attention(x, x, x, { heads: 2 }) },
  'groupNorm of large images': {
    sample: [32, 32, 64],
    run: (device, x) => ops.groupNorm(x, weights(device, [64]), weights(device, [64]), { groups: 32, silu: true }),
  },
  'attention of many tokens': { sample: [256, 64], run: (_, x) => ops.attention(x, x, x) },
  silu: { sample: [5, 7], run: (_, x) => ops.silu(x) },
  gelu: { sample: [5, 7], run: (_, x) => ops.gelu(x) },
  softmax: { sample: [3, 67], run: (_, x) => ops.softmax(x) },
  layerNorm: { sample: [9, 40], run: (device, x) => ops.layerNorm(x, weights(device, [40]), weights(device, [40])) },
  'layerNorm of images': { sample: [16, 16, 12], run: (_, x) => ops.layerNorm(x, null, null, { axes: 3 }) },
  pooling: { sample: [7, 5, 3], run: (_, x) => ops.add(ops.avgPool2d(x, 3), ops.maxPool2d(x, 3)) },
  'mean of pixels': { sample: [40, 40, 5], run: (_, x) => ops.mean(x, { axes: [1, 2] }) },
  'sum of samples': { sample: [9, 1000], run: (_, x) => ops.sum(x, { axes: [1, 2], keepDims: true }) },
  'add of channels': { sample: [5, 7, 6], run: (device, x) => ops.add(x, weights(device, [6])) },
  convTranspose2d: {
    sample: [9, 7, 13],
    run: (device, x) => ops.convTranspose2d(x, weights(device, [4, 4, 17, 13]), { stride: 2, padding: 1 }),
  },
  mseLossPerSample: { sample: [33, 31], run: (device, x) => ops.mseLossPerSample(x, device.zeros(x.shape)) },
  timestepEmbedding: {
    sample: [1],
    run: (_, x) => ops.timestepEmbedding(ops.reshape(ops.scale(x, 500, 500), [x.size]), 32),
  },
  noising: {
    sample: [9, 5, 3],
    run: (device, x, first) => {
      const t = device.tensor(new Int32Array(x.shape[0] as number).fill(1), [x.shape[0] as number]);
      const table = device.tensor([0, 0, 0.8, 0.6], [2, 2]);
      const xt = device.empty(x.shape, 'f32');
      device.native.noising(x.handle, t.handle, table.handle, 0, xt.handle, 0, 0, 0, 0, true, 0, 77, 4, 0, first);
      return xt;
    },
  },
};

function weights(device: Device, shape: number[]): Tensor {
  return device.randn(shape, { seed: 3 });
}

eachDevice((id, open) => {
  test.each(Object.entries(computations))(`%s on ${id}: a sample does not depend on its batch`, async (_, { sample, run }) => {
    const device = await open();
    const x = device.randn([batch, ...sample], { seed: 1 });
    const whole = await run(device, x, 0).read();
    const size = whole.length / batch;
    for (const [first, count] of [
      [0, 1],
      [7, 1],
      [15, 1],
      [4, 3],
    ] as const) {
      const part = x.alias([count, ...sample], (first * x.size) / batch);
      const alone = await run(device, part, first).read();
      const same = whole.slice(first * size, (first + count) * size);
      if (id === 'cuda') expect(relL2(alone, same)).toBeLessThan(1e-5);
      else expect(alone).toEqual(same);
    }
  });
});
