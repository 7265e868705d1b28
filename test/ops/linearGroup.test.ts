import { expect, test } from 'vitest';
import { backward } from '../../lib/autograd/backward.js';
import { Parameter } from '../../lib/autograd/parameter.js';
import type { Device } from '../../lib/device.js';
import { OptionError } from '../../lib/errors.js';
import * as ops from '../../lib/ops/index.js';
import { type LinearGroup, linearGroup } from '../../lib/ops/linearGroup.js';
import type { Tensor } from '../../lib/tensor.js';
import { relL2 } from '../support/compare.js';
import { eachDevice } from '../support/devices.js';
import * as reference from '../support/reference.js';
import { randomValues, tolerance, widen } from '../support/values.js';

/** Weight and bias of each map in turn, the last map first, with gaps of three elements. */
function makeGroup(device: Device, c: number, widths: readonly number[], numbers: Float32Array) {
  const values = device.tensor(numbers, [numbers.length]);
  const grads = device.full([numbers.length], Number.NaN);
  let end = 0;
  const take = (size: number) => {
    const start = end;
    end += size + 3;
    return start;
  };
  const table: number[] = [];
  const maps = widths.map(() => null as unknown as { weight: Parameter; bias: Parameter });
  for (const [b, k] of [...widths.entries()].reverse()) {
    const [weight, bias] = [take(c * k), take(k)];
    table.splice(0, 0, weight, bias, k);
    const parameter = (name: string, shape: number[], at: number) =>
      new Parameter(name, shape, 'plain', values.alias(shape, at), grads.alias(shape, at));
    maps[b] = { weight: parameter(`${b}.weight`, [c, k], weight), bias: parameter(`${b}.bias`, [k], bias) };
  }
  const places = device.tensor(Int32Array.from(table), [widths.length, 3]);
  const group: LinearGroup = { values, grads: () => grads.alias(), places, maps };
  return { group, grads, end, at: (b: number) => ({ weight: table[3 * b] as number, bias: table[3 * b + 1] as number }) };
}

const sizeOf = (c: number, widths: readonly number[]) => widths.reduce((sum, k) => sum + c * k + k + 6, 0);
const sum = (values: Iterable<number>) => [...values].reduce((a, b) => a + b, 0);

eachDevice((id, open) => {
  test.each([
    { n: 1, c: 1, widths: [1] },
    { n: 3, c: 5, widths: [7, 1, 64] },
    { n: 2, c: 32, widths: [16, 32, 32, 16, 8, 8, 8, 24, 16, 16] },
    { n: 65, c: 66, widths: [130, 3] },
  ])(`linearGroup on ${id}: $n rows of $c, maps to $widths`, async ({ n, c, widths }) => {
    const device = await open();
    const numbers = randomValues(sizeOf(c, widths), 1);
    const { group, at, grads } = makeGroup(device, c, widths, numbers);
    const rows = randomValues(n * c, 2);
    const x = new Parameter('x', [n, c], 'plain', device.tensor(rows, [n, c]), device.zeros([n, c]));
    const weights = widths.map((k, b) => widen(numbers.subarray(at(b).weight, at(b).weight + c * k)));
    const cotangents = widths.map((k, b) => randomValues(n * k, 10 + b));
    const limit = tolerance(Math.max(n, sum(widths)));

    for (const pass of [1, 2]) {
      const parts = linearGroup(ops.scale(x, 1), group);
      const losses: Tensor[] = [];
      for (const [b, part] of parts.entries()) {
        const [k, place] = [widths[b] as number, at(b)];
        const bias = widen(numbers.subarray(place.bias, place.bias + k));
        const expected = reference.linear(widen(rows), c, weights[b] as Float64Array, k, bias);
        expect(relL2(await part.read(), expected), `map ${b}`).toBeLessThan(limit);
        const weighted = ops.mean(ops.mul(part, device.tensor(cotangents[b] as Float32Array, [n, k])));
        losses.push(ops.scale(weighted, n * k));
      }
      backward(losses.reduce((total, loss) => ops.add(total, loss)));
      const flat = (await grads.read()) as Float32Array;
      for (const [b, k] of widths.entries()) {
        const dy = cotangents[b] as Float32Array;
        const column = (j: number, of: (row: number) => number) =>
          sum(Array.from({ length: n }, (_, row) => of(row) * (dy[row * k + j] as number)));
        const dweight = Float64Array.from(
          { length: c * k },
          (_, i) => pass * column(i % k, (row) => rows[row * c + Math.floor(i / k)] as number),
        );
        const dbias = Float64Array.from({ length: k }, (_, j) => pass * column(j, () => 1));
        expect(relL2(flat.subarray(at(b).weight, at(b).weight + c * k), dweight), `weight ${b}`).toBeLessThan(limit);
        expect(relL2(flat.subarray(at(b).bias, at(b).bias + k), dbias), `bias ${b}`).toBeLessThan(limit);
        expect(flat.subarray(at(b).bias + k, at(b).bias + k + 3).every(Number.isNaN), 'what lies between').toBe(true);
      }
      const dx = Float64Array.from({ length: n * c }, (_, i) => {
        const [row, channel] = [Math.floor(i / c), i % c];
        const one = (k: number, b: number) =>
          sum(Array.from({ length: k }, (_, j) => weightAt(b, channel * k + j) * (cotangents[b]?.[row * k + j] as number)));
        return pass * sum(widths.map(one));
      });
      expect(relL2(await x.grad.read(), dx), 'x').toBeLessThan(limit);
    }

    function weightAt(b: number, i: number): number {
      return weights[b]?.[i] as number;
    }
  });

  test(`linearGroup on ${id}: parts used twice, as a shift, and not at all`, async () => {
    const device = await open();
    const [n, c, widths] = [2, 3, [4, 4, 4, 5]];
    const numbers = randomValues(sizeOf(c, widths), 1);
    const images = device.tensor(randomValues(n * 4 * 2, 3), [n, 2, 2, 2]);
    const filter = device.tensor(randomValues(8, 4), [1, 1, 2, 4]);
    const rows = device.tensor(randomValues(n * c, 2), [n, c]);
    const gradients: Float32Array[] = [];
    for (const separate of [false, true]) {
      const { group, grads, end } = makeGroup(device, c, widths, numbers);
      const parts = separate
        ? group.maps.map(({ weight, bias }) => ops.linear(rows, weight, { bias }))
        : linearGroup(rows, group);
      const [twice, shift, both] = parts as [Tensor, Tensor, Tensor];
      const squares = ops.mean(ops.mul(twice, twice));
      const shifted = [shift, both, both].map((one) => {
        const y = ops.conv2d(images, filter, { shift: one });
        return ops.mean(ops.mul(y, y));
      });
      backward(shifted.reduce((total, one) => ops.add(total, one), squares));
      for (const { weight, bias } of group.maps.slice(3)) for (const one of [weight, bias]) one.grad; // zero where nothing came
      gradients.push((await grads.read()).slice(0, end) as Float32Array);
    }
    const [together, apart] = gradients.map((values) => values.map((value) => (Number.isNaN(value) ? 0 : value)));
    expect(relL2(together as Float32Array, apart as Float32Array)).toBeLessThan(tolerance(16));
    expect((apart as Float32Array).some((value) => value !== 0)).toBe(true);
  });

  test.runIf(id === 'cpu')('linearGroup on cpu: a map outside its tensors', async () => {
    const device = await open();
    const y = device.empty([2], 'f32');
    const places = device.tensor(Int32Array.of(0, 8, 1), [1, 3]);
    device.native.linearGroup(device.zeros([2, 3]).handle, device.zeros([8]).handle, places.handle, y.handle);
    await expect(y.read()).rejects.toThrow(OptionError);
  });
});
