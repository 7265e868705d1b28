import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Progress } from '../../lib/cli/progress.js';

const lines: string[] = [];

beforeEach(() => {
  lines.length = 0;
  vi.useFakeTimers({ toFake: ['performance'] });
  vi.spyOn(console, 'error').mockImplementation((line) => void lines.push(line));
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

test('lines come now and then, with the time that is left once there is something to tell it from', () => {
  const progress = new Progress('sample', 100);
  progress.update(1);
  vi.advanceTimersByTime(4000);
  progress.update(20, 'well');
  vi.advanceTimersByTime(2000);
  progress.update(30, 'well');
  vi.advanceTimersByTime(14000);
  progress.update(100);
  expect(lines).toEqual(['sample 1/100', 'sample 30/100  well  14 s left', 'sample 100/100  20 s in all']);
});

test('what was finished before tells nothing of the time', () => {
  const progress = new Progress('train', 20, 10);
  vi.advanceTimersByTime(6000);
  progress.update(10);
  vi.advanceTimersByTime(6000);
  progress.update(15);
  expect(lines).toEqual(['train 10/20', 'train 15/20  12 s left']);
});
