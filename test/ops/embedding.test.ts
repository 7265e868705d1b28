import { expect, test } from 'vitest';
import * as ops from '../../lib/ops/index.js';
import { maxAbs } from '../support/compare.js';
import { eachDevice } from '../support/devices.js';
import { checkOperation } from '../support/operation.js';

function sinusoids(t: readonly number[], dim: number, flip: boolean, shift: number): number[] {
  const half = Math.floor(dim / 2);
  return t.flatMap((step) => {
    const angles = Array.from({ length: half }, (_, i) => step * Math.exp((-Math.log(10000) * i) / (half - shift)));
    const [sines, cosines] = [angles.map(Math.sin), angles.map(Math.cos)];
    return [...(flip ? [...cosines, ...sines] : [...sines, ...cosines]), ...(dim % 2 === 1 ? [0] : [])];
  });
}

eachDevice((id, open) => {
  test.each([
    { dim: 32, options: {} },
    { dim: 7, options: {} },
    { dim: 16, options: { flipSinToCos: false, freqShift: 1 } },
    { dim: 9, options: { flipSinToCos: false } },
    { dim: 6, options: { freqShift: 1 } },
    { dim: 1, options: {} },
  ])(`timestepEmbedding on ${id}: $dim, $options`, async ({ dim, options }) => {
    const device = await open();
    const flip = options.flipSinToCos ?? true;
    const shift = options.freqShift ?? 0;
    const whole = [0, 1, 37, 999];
    const y = ops.timestepEmbedding(device.tensor(Int32Array.from(whole), [4]), dim, options);
    expect(y.shape).toEqual([4, dim]);
    // Angles of up to 999 computed in float32 would be wrong by up to 999 · 2^-23.
    const limit = 999 * 2 ** -23;
    expect(maxAbs(await y.read(), sinusoids(whole, dim, flip, shift))).toBeLessThan(limit);
    const fractional = [0.5, 10.5, 2.25, 0.125];
    const z = ops.timestepEmbedding(device.tensor(fractional, [4]), dim, options);
    expect(maxAbs(await z.read(), sinusoids(fractional, dim, flip, shift))).toBeLessThan(11 * 2 ** -23);
  });

  test.each([false, true])(`embedding on ${id}: rows, repeated ones and none too (addend: %s)`, async (withAddend) => {
    const device = await open();
    const ids = [4, 0, -1, 2, 4];
    const rows = device.tensor(Int32Array.from(ids), [5]);
    const inputs: Record<string, number[]> = { table: [6, 7] };
    if (withAddend) inputs.addend = [5, 7];
    await checkOperation<string>(device, {
      inputs,
      shape: [5, 7],
      terms: 3,
      run: ({ table, addend }) => ops.embedding(rows, table as never, { addend }),
      reference: ({ table, addend }) =>
        Array.from({ length: 5 * 7 }, (_, at) => {
          const row = ids[Math.floor(at / 7)] as number;
          return (row < 0 ? 0 : (table?.[7 * row + (at % 7)] as number)) + (addend?.[at] ?? 0);
        }),
    });
  });

  test.each([-2, 6])(`embedding on ${id}: row %i of six rejects the read, and the device stays usable`, async (row) => {
    const device = await open();
    const y = ops.embedding(device.tensor(Int32Array.of(1, row), [2]), device.zeros([6, 3]));
    await expect(y.read()).rejects.toThrow(/embedding/);
    expect([...(await device.full([2], 1).read())]).toEqual([1, 1]);
  });
});
