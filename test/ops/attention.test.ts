import { expect, test } from 'vitest';
import { attention } from '../../lib/ops/attention.js';
import { relL2 } from '../support/compare.js';
import { eachDevice } from '../support/devices.js';
import { checkOperation } from '../support/operation.js';
import * as reference from '../support/reference.js';
import { tolerance, widen } from '../support/values.js';

eachDevice((id, open) => {
  test.each([
    { n: 1, l: 1, heads: 1, d: 3, scale: undefined },
    { n: 3, l: 1, heads: 2, d: 5, scale: undefined },
    { n: 1, l: 35, heads: 3, d: 4, scale: undefined },
    { n: 2, l: 9, heads: 1, d: 7, scale: undefined },
    { n: 2, l: 6, heads: 4, d: 1, scale: 0.4 },
    { n: 1, l: 17, heads: 1, d: 20, scale: undefined },
  ])(`attention on ${id}: batch $n, $l tokens, $heads heads of $d`, async ({ n, l, heads, d, scale }) => {
    const shape = [n, l, heads * d];
    await checkOperation(await open(), {
      inputs: { q: shape, k: shape, v: shape },
      shape,
      terms: 4 * Math.max(l, d), // scores, sum of exponentials and weighted sum follow each other
      run: ({ q, k, v }) => attention(q, k, v, { heads, scale }),
      reference: (values) => reference.attention({ ...values, n, l, heads, scale: scale ?? 1 / Math.sqrt(d) }),
    });
  });

  test(`attention on ${id}: one tensor as q, k and v has the sum of the three gradients`, async () => {
    await checkOperation(await open(), {
      inputs: { x: [2, 5, 6] },
      shape: [2, 5, 6],
      terms: 32,
      run: ({ x }) => attention(x, x, x, { heads: 2 }),
      reference: ({ x }) => reference.attention({ q: x, k: x, v: x, n: 2, l: 5, heads: 2, scale: 1 / Math.sqrt(3) }),
    });
  });

  test(`attention on ${id}: many tokens, and scores far beyond the range of exp`, async () => {
    const device = await open();
    const [n, l, heads, d] = [1, 259, 2, 16];
    const draw = (seed: number) => device.randn([n, l, heads * d], { seed });
    const [q, k, v] = [draw(1), draw(2), draw(3)];
    const scale = 12; // scores of some ±150: a plain exp overflows
    const [qs, ks, vs] = [widen(await q.read()), widen(await k.read()), widen(await v.read())];
    const expected = reference.attention({ q: qs, k: ks, v: vs, n, l, heads, scale });
    const y = await attention(q, k, v, { heads, scale }).read();
    // A score's own rounding error, scale·|q||k|·√d·2^-24, becomes a relative error of its weight.
    expect(relL2(y, expected)).toBeLessThan(tolerance(l) + scale * d * 4 * 2 ** -24);
  });
});
