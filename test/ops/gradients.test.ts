import { expect, test } from 'vitest';
import { backward } from '../../lib/autograd/backward.js';
import { Parameter } from '../../lib/autograd/parameter.js';
import { noGrad } from '../../lib/autograd/tape.js';
import { OptionError } from '../../lib/errors.js';
import * as ops from '../../lib/ops/index.js';
import { eachDevice } from '../support/devices.js';
import { checkOperation } from '../support/operation.js';
import * as reference from '../support/reference.js';

const sum = (a: Float64Array, b: Float64Array): Float64Array => a.map((value, i) => value + (b[i] as number));

/** Parameters that several operations share: some gradients are added to, others of the same call are new. */
eachDevice((id, open) => {
  test(`conv2d on ${id}: two filters, one bias`, async () => {
    const shape = [2, 3, 4, 3] as const;
    const weightShape = [3, 3, 3, 5] as const;
    const convolve = (x: Float64Array, weight: Float64Array, bias: Float64Array) =>
      reference.conv2d({ x, shape, weight, weightShape, bias, padding: [1, 1, 1, 1] });
    await checkOperation(await open(), {
      inputs: { x: shape, first: weightShape, second: weightShape, bias: [5] },
      shape: [2, 3, 4, 5],
      terms: 90,
      run: ({ x, first, second, bias }) =>
        ops.add(ops.conv2d(x, first, { bias, padding: 1 }), ops.conv2d(x, second, { bias, padding: 1 })),
      reference: ({ x, first, second, bias }) => sum(convolve(x, first, bias), convolve(x, second, bias)),
    });
  });

  test(`linear on ${id}: one weight, two biases`, async () => {
    await checkOperation(await open(), {
      inputs: { x: [3, 4], weight: [4, 5], first: [5], second: [5] },
      shape: [3, 5],
      terms: 12,
      run: ({ x, weight, first, second }) =>
        ops.add(ops.linear(x, weight, { bias: first }), ops.linear(x, weight, { bias: second })),
      reference: ({ x, weight, first, second }) =>
        sum(reference.linear(x, 4, weight, 5, first), reference.linear(x, 4, weight, 5, second)),
    });
  });

  test(`groupNorm on ${id}: one gamma, two betas, and one tensor as both`, async () => {
    const norm = (x: Float64Array, gamma: Float64Array, beta: Float64Array) =>
      reference.groupNorm({ x, n: 2, c: 6, groups: 3, gamma, beta, eps: 1e-5 });
    await checkOperation(await open(), {
      inputs: { x: [2, 7, 6], gamma: [6], beta: [6] },
      shape: [2, 7, 6],
      terms: 112,
      run: ({ x, gamma, beta }) =>
        ops.add(ops.groupNorm(x, gamma, beta, { groups: 3 }), ops.groupNorm(x, gamma, gamma, { groups: 3 })),
      reference: ({ x, gamma, beta }) => sum(norm(x, gamma, beta), norm(x, gamma, gamma)),
    });
  });

  test(`a saved tensor on ${id} that is written in place before backward is an error`, async () => {
    const device = await open();
    const weight = new Parameter('weight', [2, 2], 'plain', device.full([2, 2], 1), device.zeros([2, 2]));
    const x = device.full([3, 2], 1);
    const loss = ops.mean(ops.linear(x, weight));
    ops.reshape(x, [6]).write(new Float32Array(6));
    expect(() => backward(loss)).toThrow(OptionError);
    expect(() => backward(loss)).toThrow(/shape \[3,2\] that linear saved was written in place/);
  });

  test(`inside noGrad on ${id} no operation is taped`, async () => {
    const device = await open();
    const p = (...shape: number[]) => new Parameter('p', shape, 'plain', device.full(shape, 1), device.zeros(shape));
    const image = p(1, 2, 2, 2);
    const outputs = noGrad(() => [
      ops.conv2d(image, p(1, 1, 2, 2)),
      ops.linear(image, p(2, 2)),
      ops.groupNorm(image, p(2), p(2), { groups: 1 }),
      ops.attention(p(1, 2, 2), p(1, 2, 2), p(1, 2, 2)),
      ops.embedding(device.zeros([1], { dtype: 'i32' }), p(2, 2)),
      ops.reshape(image, [8]),
      ops.mean(image),
      ops.mseLoss(image, image),
      ops.dropout(image, 0.5),
    ]);
    for (const output of outputs) expect(output.edge).toBeNull();
  });
});
