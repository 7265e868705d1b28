import { expect, test } from 'vitest';
import type { Device } from '../../lib/device.js';
import { importanceTimesteps, recordLosses } from '../../lib/diffusion/importance.js';
import { toRng } from '../../lib/random.js';
import type { Tensor } from '../../lib/tensor.js';
import { maxRelative } from '../support/compare.js';
import { eachDevice } from '../support/devices.js';
import { words } from '../support/philox.js';
import { eps32, randomValues } from '../support/values.js';

const K = 10;

/** improved-diffusion's LossSecondMomentResampler, without its draws. */
class Reference {
  readonly losses: number[][];
  constructor(readonly T: number) {
    this.losses = Array.from({ length: T }, () => []);
  }
  record(t: Int32Array, losses: Float32Array): void {
    for (const [n, step] of t.entries()) {
      const own = this.losses[step] as number[];
      if (own.length === K) own.shift();
      own.push(losses[n] as number);
    }
  }
  probabilities(): number[] {
    if (this.losses.some(({ length }) => length < K)) return new Array(this.T).fill(1 / this.T);
    const roots = this.losses.map((own) => Math.sqrt(own.reduce((sum, loss) => sum + loss * loss, 0) / K));
    const total = roots.reduce((a, b) => a + b, 0);
    const uniform = Math.fround(0.001);
    return roots.map((root) => ((1 - uniform) * root) / total + uniform / this.T);
  }
}

function empty(device: Device, T: number): { history: Tensor; counts: Tensor } {
  return { history: device.zeros([T, K]), counts: device.zeros([T], { dtype: 'i32' }) };
}

const batchOf = (T: number, seed: number, size: number): [Int32Array, Float32Array] => {
  const random = randomValues(2 * size, seed);
  const steps = Int32Array.from({ length: size }, (_, i) => Math.floor(Math.abs(random[i] as number) * 1e4) % T);
  return [steps, random.slice(size).map((value, i) => value ** 2 * (1 + ((steps[i] as number) % 5)))];
};

eachDevice((id, open) => {
  test.each([1, 7, 64, 130])(`importanceTimesteps and recordLosses on ${id}: %i steps`, async (T) => {
    const device = await open();
    const own = empty(device, T);
    const reference = new Reference(T);
    const record = (t: Int32Array, losses: Float32Array) => {
      recordLosses(own, device.tensor(t, [t.length]), device.tensor(losses, [t.length]));
      reference.record(t, losses);
    };
    const draw = async (n: number, seed: number) => {
      const { t, weights } = importanceTimesteps(own, n, toRng('test', device, { seed, stream: 32, step: 3 }));
      return [(await t.read()) as Int32Array, (await weights.read()) as Float32Array] as const;
    };
    const wordsOf = (n: number, seed: number) =>
      Array.from({ length: n }, (_, k) => words({ seed, stream: 32, step: 3 }, k, 1)[0] as number);

    record(...batchOf(T, 1, 33));
    const [early, ones] = await draw(19, 5);
    expect([...early]).toEqual(wordsOf(19, 5).map((word) => Math.floor((word * T) / 2 ** 32)));
    expect([...ones]).toEqual(new Array(19).fill(1));

    const every = Int32Array.from({ length: K * T }, (_, i) => i % T);
    record(every, randomValues(K * T, 6).map(Math.abs));
    record(...batchOf(T, 2, 71));
    const history = (await own.history.read()) as Float32Array;
    expect([...history]).toEqual(reference.losses.flat());
    expect([...(await own.counts.read())]).toEqual(new Array(T).fill(K));

    const p = reference.probabilities();
    const ends = p.map((_, k) => p.slice(0, k + 1).reduce((a, b) => a + b, 0));
    const [t, weights] = await draw(601, 7);
    const expected = wordsOf(601, 7).map((word) => {
      const place = (word + 0.5) / 2 ** 32;
      const step = ends.findIndex((end) => place < end);
      return step < 0 ? T - 1 : step;
    });
    expect([...t]).toEqual(expected);
    expect(
      maxRelative(
        weights,
        expected.map((step) => 1 / (T * (p[step] as number))),
      ),
    ).toBeLessThan(4 * eps32);
  });

  test(`importanceTimesteps on ${id}: without any loss all steps are alike`, async () => {
    const device = await open();
    const own = { history: device.zeros([5, K]), counts: device.tensor(new Int32Array(5).fill(K), [5]) };
    const { t, weights } = importanceTimesteps(own, 64, toRng('test', device, { seed: 1 }));
    expect(new Set(await t.read()).size).toBe(5);
    expect(maxRelative(await weights.read(), new Array(64).fill(1))).toBeLessThan(4 * eps32);
  });

  test(`recordLosses on ${id}: leaves out what is not finite, and steps outside`, async () => {
    const device = await open();
    const own = empty(device, 3);
    const t = device.tensor(Int32Array.of(1, 1, 1, 2), [4]);
    recordLosses(own, t, device.tensor([Number.NaN, 2, Number.POSITIVE_INFINITY, 3], [4]));
    expect([...(await own.counts.read())]).toEqual([0, 1, 1]);
    expect((await own.history.read())[K]).toBe(2);
    recordLosses(own, device.tensor(Int32Array.of(3), [1]), device.zeros([1]));
    await expect(own.counts.read()).rejects.toThrow(/recordLosses: t = 3/);
  });

  test(`importanceTimesteps on ${id}: in a recording, runs draw and record anew`, async () => {
    const device = await open();
    const T = 3;
    const [own, plain] = [empty(device, T), empty(device, T)];
    const state = device.tensor(Int32Array.of(9, 0, 0, 0), [4]);
    const drawn: Tensor[] = [];
    const step = (of: { history: Tensor; counts: Tensor }, rng = toRng('test', device, { seed: state })) => {
      const { t, weights } = importanceTimesteps(of, 16, rng);
      recordLosses(of, t, weights);
      return t;
    };
    const kept = device.zeros([16], { dtype: 'i32' });
    const program = device.record(() => {
      device.scope(() => {
        device.native.cast(step(own).handle, kept.handle);
        device.native.advanceSeed(state.handle);
      });
    });
    for (let k = 0; k < 8; k++) {
      if (k > 0) program.run();
      const apart = step(plain, toRng('test', device, { seed: 9, step: k }));
      drawn.push(apart);
      kept.cell.version++;
      expect(await kept.read()).toEqual(await apart.read());
    }
    expect(await own.history.read()).toEqual(await plain.history.read());
    expect([...(await own.counts.read())]).toEqual(new Array(T).fill(K));
    program.dispose();
    for (const tensor of drawn) tensor.dispose();
  });
});
