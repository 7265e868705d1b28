import { expect, test } from 'vitest';
import { type Command, floorOf, workOf } from '../../bench/floor.js';
import type { Ceiling } from '../../bench/result.js';

const command = (dtype: Command['dtype'], flops: number, bytes: number) => ({ name: 'one', shapes: '', dtype, flops, bytes });
const ceilings: Ceiling[] = [
  { dtype: 'f32', flopsPerSecond: 1e11, bytesPerSecond: 1e10 },
  { dtype: 'bf16', flopsPerSecond: 2e11, bytesPerSecond: 2e10 },
];

test('each operation takes the time of its arithmetic or of its memory, by the ceilings of its element type', () => {
  const arithmetic = command('f32', 1e9, 1e6); // 10 ms, not 0.1
  const memory = command('f32', 1e6, 1e9); // 100 ms, not 0.01
  const half = command('bf16', 1e9, 1e6); // 5 ms
  expect(floorOf([arithmetic], ceilings)).toBeCloseTo(0.01, 12);
  expect(floorOf([memory], ceilings)).toBeCloseTo(0.1, 12);
  expect(floorOf([half], ceilings)).toBeCloseTo(0.005, 12);
  // Their sum is not that of all arithmetic or of all memory.
  expect(floorOf([arithmetic, memory, half], ceilings)).toBeCloseTo(0.115, 12);
  expect(floorOf([], ceilings)).toBe(0);
});

test('an element type without a ceiling is measured by another', () => {
  expect(floorOf([command('u8', 0, 1e9)], ceilings)).toBeCloseTo(0.1, 12);
  expect(floorOf([command('f32', 1e9, 0)], ceilings.slice(1))).toBeCloseTo(0.005, 12);
});

test('work is that of one repetition', () => {
  expect(workOf([command('f32', 6, 10), command('u8', 0, 5)], 3)).toEqual({ flops: 2, bytes: 5 });
});
