import { expect, test } from 'vitest';
import { boundColumns } from '../../lib/diffusion/tables.js';
import { measureBound } from '../../lib/diffusion/variationalBound.js';
import { eachReference } from './process.js';

const file = 'process/iddpm_bpd';

/** The parts of the bound by themselves: one element a sample, the model says mean and log variance, a row of the table each. */
eachReference(file, (on) => {
  const compare = (name: string) =>
    on.comparing(name, (tensor) => {
      const { values } = on.at(`${name}/${tensor}`);
      return { shape: [1, values.length], values };
    });
  const valuesOf = (key: string) => on.at(key).values;

  /** In nats; row 0 of the table is the likelihood, all others are divergences between N(x0, exp(lq)) and the model's. */
  async function bound(x0: Float32Array, means: ArrayLike<number>, logVariances: ArrayLike<number>, lq?: Float32Array) {
    const count = x0.length;
    const table = new Float32Array((count + 1) * boundColumns);
    for (let n = 0; n <= count; n++) table.set([0, 1, 0, 0, 1, 0, lq?.[n - 1] ?? 0, 0, 0], n * boundColumns);
    const output = Float32Array.from({ length: 2 * count }, (_, i) => (i % 2 === 0 ? means : logVariances)[i >> 1] as number);
    const start = on.device.tensor(x0, [count, 1]);
    const vb = on.device.zeros([count]);
    const inputs = {
      ...{ x0: start, xt: start, noise: start, clip: 0, variance: 'learned' as const },
      t: on.device.tensor(
        Int32Array.from(x0, (_, n) => (lq ? n + 1 : 0)),
        [count],
      ),
      table: on.device.tensor(table, [count + 1, boundColumns]),
    };
    measureBound(on.device.tensor(output, [count, 2]), inputs, { vb, xStartMse: null, mse: null });
    return (await vb.read()).map((bits) => bits * Math.LN2) as Float32Array;
  }

  test('normal_kl', async () => {
    const [mean1, logvar1, mean2, logvar2] = ['mean1', 'logvar1', 'mean2', 'logvar2'].map((name) =>
      valuesOf(`normal_kl/${name}`),
    );
    const close = compare('normal_kl');
    const [first, second] = [mean1 as Float32Array, mean2 as Float32Array];
    await close(await bound(first, second, logvar2 as Float32Array, logvar1), 'out', 1e-5);
    const zeros = new Float32Array(first.length);
    await close(await bound(first, zeros, zeros, logvar1), 'out_vs_std', 1e-5);
  });

  test('discretized_gaussian_log_likelihood', async () => {
    const [x, means, scales] = ['x', 'means', 'log_scales'].map((name) => valuesOf(`discretized_gaussian/${name}`));
    const found = await bound(
      x as Float32Array,
      means as Float32Array,
      (scales as Float32Array).map((scale) => 2 * scale),
    );
    await compare('discretized_gaussian')(
      found.map((nats) => -nats),
      'out',
      1e-4,
      1e-5,
    );
  });

  test('approx_standard_normal_cdf', async () => {
    // The lowest value has all below it in its bin: with deviation 1 its likelihood is cdf(-1 + 1/255 - mean).
    const x = valuesOf('approx_cdf/x');
    const lowest = new Float32Array(x.length).fill(-1);
    const found = await bound(
      lowest,
      Float32Array.from(x, (value) => -1 + 1 / 255 - value),
      new Float32Array(x.length),
    );
    expect(x.length).toBe(41);
    await compare('approx_cdf')(
      found.map((nats) => Math.exp(-nats)),
      'out',
      1e-5,
    );
  });
});
