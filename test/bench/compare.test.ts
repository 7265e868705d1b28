import { describe, expect, test } from 'vitest';
import { compare, comparison } from '../../bench/compare.js';
import type { Side } from '../../bench/result.js';
import { around, measurement, result } from './results.js';

const row = (before: number, after: number, by: number) =>
  compare(result({ measurements: [measurement('copy', before, by)] }), result({ measurements: [measurement('copy', after, by)] }))
    .rows[0];

describe('two results side by side', () => {
  test('what changes by more than the ranges of both differs', () => {
    expect(row(0.012, 0.01, 0.05)).toMatchObject({ ratio: 1.2, differs: true });
    expect(row(0.01, 0.012, 0.05)).toMatchObject({ differs: true });
  });

  test('what changes by less does not, however small the change', () => {
    expect(row(0.0105, 0.01, 0.05)).toMatchObject({ differs: false });
    expect(row(0.012, 0.01, 0.2)).toMatchObject({ ratio: 1.2, differs: false });
    expect(row(0.01, 0.01, 0)).toMatchObject({ ratio: 1, differs: false });
  });

  test('a small change differs where both hardly vary', () => {
    expect(row(0.0101, 0.01, 0.001)).toMatchObject({ differs: true });
  });

  test('what was timed less than four times does not differ', () => {
    const timed = (median: number, samples: number) => {
      const one = measurement('sampling', median);
      return result({ measurements: [{ ...one, sides: { ours: { ...(one.sides.ours as Side), samples } } }] });
    };
    expect(compare(timed(2, 3), timed(1, 9)).rows[0]).toMatchObject({ ratio: 2, differs: false });
    expect(compare(timed(2, 4), timed(1, 4)).rows[0]).toMatchObject({ ratio: 2, differs: true });
  });

  test('a measurement is known by suite, name, network, element type and batch', () => {
    const one = measurement('conv');
    const others = [{ ...one, dtype: 'bf16' as const }, { ...one, batch: 8 }, { ...one, network: 'tiny' }, measurement('other')];
    const { rows, gone, added } = compare(result({ measurements: [one] }), result({ measurements: others }));
    expect(rows).toEqual([]);
    expect(gone).toEqual(['kernels: conv, f32, batch 4']);
    expect(added).toHaveLength(4);
  });

  test('costs of calls are compared in their own units', () => {
    const cost = (median: number) => ({ name: 'enqueuing', unit: 'µs' as const, value: around(median, 0.1) });
    const { rows } = compare(result({ overheads: [cost(3)] }), result({ overheads: [cost(2)] }));
    expect(rows).toEqual([{ name: 'enqueuing', ratio: 1.5, differs: true }]);
  });

  test('other machines, commits and threads are warned of, and nothing else', () => {
    const old = result({ machine: { cpu: 'one', commit: 'abc', loadAverage: 1 }, threads: 2 });
    const young = result({ machine: { cpu: 'another', commit: 'def', loadAverage: 2 }, threads: 4 });
    expect(compare(old, young).warnings).toEqual([
      'cpu differs: one, then another',
      'commit differs: abc, then def',
      'threads differs: 2, then 4',
    ]);
    expect(compare(old, old).warnings).toEqual([]);
  });

  test('the lines mark what differs and put it first', () => {
    const old = result({ measurements: [measurement('same'), measurement('faster', 0.02)] });
    const young = result({ measurements: [measurement('same'), measurement('faster', 0.01)] });
    const lines = comparison(compare(old, young));
    expect(lines[1]).toMatch(/^1 of 2 differ/);
    expect(lines[2]).toMatch(/^\* kernels: faster, f32, batch 4 +2\.00×$/);
    expect(lines[3]).toMatch(/^ {2}kernels: same, f32, batch 4 +1\.00×$/);
  });
});
