import { expect, test } from 'vitest';
import { backward } from '../../lib/autograd/backward.js';
import { Parameter } from '../../lib/autograd/parameter.js';
import * as ops from '../../lib/ops/index.js';
import type { Tensor } from '../../lib/tensor.js';
import { relL2 } from '../support/compare.js';
import { eachDevice, openForBf16 } from '../support/devices.js';
import { randomValues, sizeOf, toBf16 } from '../support/values.js';

/** Operations beside the same in f32, which their own tests compare with float64: x of this shape, and parameters in f32. */
const cases: [name: string, shape: number[], parameters: number[][], run: (x: Tensor, ...p: Parameter[]) => Tensor][] = [
  ['relu', [3, 7, 5], [], ops.relu],
  ['gelu', [3, 7, 5], [], (x) => ops.gelu(x)],
  ['gelu, approximate', [16, 8], [], (x) => ops.gelu(x, { approximate: 'tanh' })],
  ['sigmoid', [3, 7, 5], [], ops.sigmoid],
  ['tanh', [3, 7, 5], [], ops.tanh],
  ['softmax', [5, 33], [], ops.softmax],
  ['layerNorm', [2, 5, 33], [[33], [33]], (x, gamma, beta) => ops.layerNorm(x, gamma, beta)],
  ['layerNorm of wide rows', [9, 64], [[64], [64]], (x, gamma, beta) => ops.layerNorm(x, gamma, beta)],
  ['add of channels', [2, 5, 3, 7], [[7]], (x, b) => ops.add(x, b)],
  ['mul of samples', [2, 5, 3, 8], [[2, 1, 1, 8]], (x, b) => ops.mul(x, b)],
  ['sub from a parameter', [2, 5, 4], [[1]], (x, a) => ops.sub(a as Parameter, x)],
  ['mean over pixels', [2, 5, 3, 7], [], (x) => ops.mean(x, { axes: [1, 2] })],
  ['sum over the last axis', [4, 40], [], (x) => ops.sum(x, { axes: -1 })],
  ['pad', [1, 7, 5, 3], [], (x) => ops.pad(x, [1, 0, 2, 3], { value: 0.5 })],
  ['slice', [2, 7, 6], [], (x) => ops.slice(x, -1, 1, 4)],
  ['split and concat', [3, 8], [], (x) => ops.concat([...ops.split(x, [3, 4, 1])].reverse())],
  ['permute', [2, 3, 5], [], (x) => ops.permute(x, [2, 0, 1])],
  ['upsample by 3', [1, 3, 2, 5], [], (x) => ops.upsample(x, 3)],
  [
    'convTranspose2d',
    [2, 3, 4, 8],
    [[8, 6, 4, 4], [6]],
    (x, weight, bias) => ops.convTranspose2d(x, weight as Parameter, { bias, stride: 2, padding: 1 }),
  ],
];

eachDevice((id, open) => {
  test.for(cases)(`%s in bf16 on ${id}`, async ([name, shape, shapes, run], context) => {
    const device = await openForBf16(open, context);
    const kind = name === 'convTranspose2d' ? undefined : 'plain';
    const values = (of: readonly number[], seed: number) => toBf16(randomValues(sizeOf(of), seed));
    const results = ['f32', 'bf16'].map((dtype) => {
      const x = new Parameter('x', shape, 'plain', device.tensor(values(shape, 1), shape), device.zeros(shape));
      const parameters = shapes.map(
        (of, i) => new Parameter(device, of, { init: values(of, i + 2), kind: of.length === 4 ? kind : 'plain' }),
      );
      const y = run(ops.cast(x, dtype as 'bf16'), ...parameters);
      expect(y.dtype).toBe(dtype);
      const wide = ops.cast(y, 'f32');
      backward(ops.sum(ops.mul(wide, device.tensor(values(y.shape, 9), y.shape))));
      return [wide.read(), x.grad.read(), ...parameters.map((one) => one.readGrad())];
    });
    const [exact, rounded] = await Promise.all(results.map((reads) => Promise.all(reads)));
    for (const [i, result] of (rounded as Float32Array[]).entries())
      expect(relL2(result, exact?.[i] as Float32Array), i === 0 ? 'output' : `gradient ${i}`).toBeLessThan(1e-2);
  });
});
