import { describe, expect, it } from 'vitest';
import { BatchOrder } from '../../lib/data/batchOrder.js';
import { OptionError } from '../../lib/errors.js';

const epoch = (order: BatchOrder, number: number) => [...order.indices(number * order.length, order.length)];

describe('BatchOrder', () => {
  it.each([1, 2, 3, 5, 16, 17, 100, 674, 4096, 60_001])('visits each of %i images once an epoch', (length) => {
    const order = new BatchOrder(length, 3);
    for (const number of [0, 1, 1000]) {
      const sorted = Int32Array.from(epoch(order, number)).sort();
      expect(sorted.every((index, at) => index === at)).toBe(true);
    }
  });

  it('depends on seed, epoch and position only', () => {
    const order = new BatchOrder(101, 7);
    const stream = [...order.indices(0, 505)];
    for (const [position, count] of [
      [300, 64],
      [0, 7],
      [99, 5],
      [404, 101],
    ] as const) {
      expect([...new BatchOrder(101, 7).indices(position, count)]).toEqual(stream.slice(position, position + count));
      expect([...order.indices(position, count)]).toEqual(stream.slice(position, position + count));
    }
    const epochs = [0, 1, 2, 3].map((number) => epoch(order, number).join());
    expect(new Set(epochs).size).toBe(4);
    for (const seed of [8, -7, 7 + 2 ** 32]) expect(epoch(new BatchOrder(101, seed), 0).join()).not.toBe(epochs[0]);
  });

  it('stays the order that saved runs were made with', () => {
    expect([...new BatchOrder(10, 0).indices(0, 20)]).toMatchInlineSnapshot(`
      [
        8,
        6,
        3,
        7,
        9,
        1,
        4,
        0,
        5,
        2,
        5,
        8,
        0,
        6,
        7,
        2,
        1,
        3,
        4,
        9,
      ]
    `);
  });

  it('gives batches longer than the set', () => {
    const indices = new BatchOrder(3, 1).indices(1, 128);
    expect(indices.length).toBe(128);
    expect([...indices.subarray(2, 5)].sort()).toEqual([0, 1, 2]);
    expect(new BatchOrder(3, 1).indices(0, 0).length).toBe(0);
    expect([...new BatchOrder(1, 1).indices(5, 3)]).toEqual([0, 0, 0]);
  });

  // χ² over all orders of four images: 23 degrees of freedom, 49.7 is exceeded once in a thousand.
  it('takes every order equally often', () => {
    const order = new BatchOrder(4, 12);
    const counts = new Map<string, number>();
    const epochs = 12_000;
    for (let number = 0; number < epochs; number++) {
      const key = epoch(order, number).join();
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    expect(counts.size).toBe(24);
    const expected = epochs / 24;
    const chiSquare = [...counts.values()].reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
    expect(chiSquare).toBeLessThan(49.7);
  });

  // Rank correlations of n values have standard deviation 1/√n; five of them.
  it('shows no trace of the original order', () => {
    const length = 10_007;
    const order = new BatchOrder(length, 5);
    const first = epoch(order, 0);
    const bound = 5 / Math.sqrt(length);
    const identity = first.map((_, at) => at);
    expect(Math.abs(correlation(first, identity))).toBeLessThan(bound);
    expect(Math.abs(correlation(first.slice(1), first.slice(0, -1)))).toBeLessThan(bound);
    expect(Math.abs(correlation(first, epoch(order, 1)))).toBeLessThan(bound);
    const fixedPoints = first.filter((index, at) => index === at).length;
    expect(fixedPoints).toBeLessThan(8);
  });

  it('gives a batch of a very large set at once', () => {
    const order = new BatchOrder(2 ** 31 - 1, 5);
    order.indices(0, 1024);
    const start = performance.now();
    for (let batch = 1; batch <= 20; batch++) order.indices(batch * 2 ** 33, 128);
    expect((performance.now() - start) / 20).toBeLessThan(1);
  });

  it('refuses what is no length, seed or position', () => {
    for (const length of [0, -1, 1.5, Number.NaN, 2 ** 31]) expect(() => new BatchOrder(length, 0)).toThrow(OptionError);
    for (const seed of [0.5, Number.NaN, 2 ** 60]) expect(() => new BatchOrder(4, seed)).toThrow(OptionError);
    const order = new BatchOrder(4, 0);
    for (const [position, count] of [
      [-1, 4],
      [0.5, 4],
      [0, -1],
      [0, 1.5],
      [2 ** 53, 1],
    ] as const) {
      expect(() => order.indices(position, count)).toThrow(OptionError);
    }
  });
});

function correlation(a: number[], b: number[]): number {
  const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [ma, mb] = [mean(a), mean(b)];
  const product = mean(a.map((value, at) => (value - ma) * ((b[at] as number) - mb)));
  return product / Math.sqrt(mean(a.map((value) => (value - ma) ** 2)) * mean(b.map((value) => (value - mb) ** 2)));
}
