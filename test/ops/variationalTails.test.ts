import { expect, test } from 'vitest';
import { backward } from '../../lib/autograd/backward.js';
import { Parameter } from '../../lib/autograd/parameter.js';
import { boundColumns } from '../../lib/diffusion/tables.js';
import { variationalBound } from '../../lib/diffusion/variationalBound.js';
import * as ops from '../../lib/ops/index.js';
import { eachDevice } from '../support/devices.js';
import { eps32 } from '../support/values.js';

/** What is left of a standard normal above x: 1 - ½(1 + tanh(√(2/π)(x + 0.044715 x³))), precise where it is small. */
const above = (x: number) => {
  const power = 2 * Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3);
  return power > 0 ? Math.exp(-power) / (1 + Math.exp(-power)) : 1 / (1 + Math.exp(power));
};

/** −log₂ of the probability of a byte: of its bin, or of all beyond it where it is the first or last. */
function bits(x: number, mean: number, logVariance: number): number {
  const scale = Math.exp(-logVariance / 2);
  const [high, low] = [scale * (x - mean + 1 / 255), scale * (x - mean - 1 / 255)];
  const inner = low > 0 ? above(low) - above(high) : above(-high) - above(-low);
  const p = x < -0.999 ? above(-high) : x > 0.999 ? above(low) : inner;
  return -Math.log2(Math.max(p, 1e-12));
}

/** A byte, how many standard deviations its centre lies above the mean, and the logarithm of the variance. */
const points = [0, 1, 77, 128, 254, 255].flatMap((byte) =>
  [-9, -6.5, -5, -3, -0.4, 0, 0.4, 3, 5, 6.5, 9].flatMap((z) => [-9, -6, -2, 0.5].map((v) => ({ byte, z, v }))),
);
const x0 = Float32Array.from(points, ({ byte }) => byte / 127.5 - 1);
const output = Float32Array.from({ length: 2 * points.length }, (_, i) => {
  const { z, v } = points[i >> 1] as (typeof points)[number];
  return i % 2 === 0 ? (x0[i >> 1] as number) - z * Math.exp(v / 2) : v;
});
const given = points.map((point, n) => ({
  ...point,
  x: x0[n] as number,
  mean: output[2 * n] as number,
  logVariance: output[2 * n + 1] as number,
}));

eachDevice((id, open) => {
  test(`variationalBound on ${id}: the likelihood of bytes far from the mean, and of the first and the last one`, async () => {
    const device = await open();
    const count = points.length;
    const images = device.tensor(x0, [count, 1]);
    // x̂0 = output, and the mean of p is x̂0.
    const table = device.tensor([0, 1, 0, 0, 1, 0, 0, 0, 0], [1, boundColumns]);
    const inputs = { x0: images, xt: images, t: device.zeros([count], { dtype: 'i32' }), table, clip: 0 };
    const parameter = new Parameter('output', [count, 2], 'plain', device.tensor(output, [count, 2]), device.zeros([count, 2]));
    const vb = variationalBound(ops.scale(parameter, 1), { ...inputs, variance: 'learned' });
    backward(ops.mean(vb));
    const [values, gradient] = await Promise.all([vb.read(), parameter.grad.read()]);

    let floors = 0;
    for (const [n, { byte, z, v, x, mean, logVariance }] of given.entries()) {
      const where = `byte ${byte}, ${z} deviations from the mean, log variance ${v}`;
      const expected = bits(x, mean, logVariance);
      expect(Math.abs((values[n] as number) - expected), where).toBeLessThan(4 * eps32 * expected + 1e-12);
      const [h, k] = [1e-5 * Math.exp(v / 2), 1e-5];
      const byMean = (bits(x, mean + h, logVariance) - bits(x, mean - h, logVariance)) / (2 * h);
      const byLogVariance = (bits(x, mean, logVariance + k) - bits(x, mean, logVariance - k)) / (2 * k);
      // A derivative that is small beside its parts, 1/σ and 1, has their rounding errors.
      const found = [gradient[2 * n], gradient[2 * n + 1]].map((value) => (value as number) * count) as [number, number];
      const scales = [Math.max(Math.abs(byMean), 1e-2 * Math.exp(-v / 2)), Math.max(Math.abs(byLogVariance), 1e-2)] as const;
      expect(Math.abs(found[0] - byMean) / scales[0], `by the mean, ${where}`).toBeLessThan(1e-6);
      expect(Math.abs(found[1] - byLogVariance) / scales[1], `by the log variance, ${where}`).toBeLessThan(1e-6);
      if (expected > 39) {
        expect([gradient[2 * n], gradient[2 * n + 1]], where).toEqual([0, 0]);
        floors++;
      }
    }
    expect(floors).toBeGreaterThan(20); // some points lie where the probability counts as 1e-12
    expect(floors).toBeLessThan(count / 2);
  });
});
