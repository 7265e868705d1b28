import { describe, expect, test } from 'vitest';
import { kindOfCommand, kindsOf } from '../../bench/stepKinds.js';
import type { Ran } from '../../bench/trace.js';
import { operations } from '../../lib/native.js';

const ceilings = [{ dtype: 'f32' as const, flopsPerSecond: 10, bytesPerSecond: 100 }];
const ran = (name: string, start: number, seconds: number, work: Partial<Ran> = {}): Ran => ({
  ...{ name, start, seconds, dtype: 'f32', flops: 0, bytes: 0 },
  ...work,
});

describe('where a step spends its time', () => {
  // A step lasts 10: a convolution of 4, a gap of 1, its gradient of 3, the optimiser of 1, and a gap of 1 before all.
  const step = (begin: number) => [
    ran('conv2d', begin + 1, 4, { flops: 20, bytes: 10 }),
    ran('conv2dBackwardWeights', begin + 6, 3, { flops: 5, bytes: 100 }),
    ran('adamW', begin + 9, 1, { bytes: 50 }),
  ];

  test('kinds and gaps are those of the last steps, one on average', () => {
    const first = [ran('conv2d', 0, 1000), ran('adamW', 1000, 100)];
    const kinds = kindsOf([...first, ...step(1100), ...step(1110)], 2, ceilings);
    expect(kinds).toEqual({
      'convolution forward': { seconds: 4, count: 1, floor: 2, flops: 20, bytes: 10 },
      'convolution weights': { seconds: 3, count: 1, floor: 1, flops: 5, bytes: 100 },
      optimiser: { seconds: 1, count: 1, floor: 0.5, flops: 0, bytes: 50 },
      gaps: { seconds: 2, count: 0, floor: 0, flops: 0, bytes: 0 },
    });
    expect(Object.values(kinds).reduce((sum, { seconds }) => sum + seconds, 0)).toBe(10);
  });

  test('a trace without a step before them is refused', () => {
    expect(() => kindsOf([...step(0), ...step(10)], 2, ceilings)).toThrow('holds 2 steps');
  });

  test('operations of a training step have a kind', () => {
    const kinds = Object.fromEntries(operations.map((name) => [name, kindOfCommand(name)]));
    expect(kinds).toMatchObject({
      conv2d: 'convolution forward',
      conv2dBackwardData: 'convolution data',
      conv2dBackwardWeights: 'convolution weights',
      attentionBackward: 'attention',
      groupNormBackward: 'normalisation',
      linearGroupBackwardWeights: 'linear',
      siluBackward: 'pointwise',
      gradientNorm: 'optimiser',
      adamW: 'optimiser',
      randomIntegers: 'rest',
    });
  });
});
