import { appendFileSync, mkdirSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { FileFormatError, OptionError, type RunMetrics, readMetrics } from '../../lib/index.js';
import { MetricsFile } from '../../lib/recording/metrics.js';
import { temporaryFolder } from '../support/temporaryFolder.js';

const root = temporaryFolder();
const line = (step: number): RunMetrics => ({
  step,
  loss: 1 / step,
  gradientNorm: 0.5,
  learningRate: 2e-4,
  imagesPerSecond: 10,
  seconds: step / 8,
});

async function all(folder: string): Promise<RunMetrics[]> {
  const metrics: RunMetrics[] = [];
  for await (const one of readMetrics(folder)) metrics.push(one);
  return metrics;
}

/** Appends steps `first` … `last` to the file of a run that stands at step `at`; gives the steps that were kept. */
async function write(folder: string, at: number, first: number, last: number): Promise<number[]> {
  const kept: number[] = [];
  const file = await MetricsFile.open(folder, at, ({ step }) => kept.push(step));
  for (let step = first; step <= last; step++) file.append(line(step));
  await file.close();
  return kept;
}
const steps = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

test('a line a step comes back as it was written, across the pieces in which a file is read', async () => {
  const folder = join(root, 'a/deeper');
  await write(folder, 0, 1, 3000); // 300 KB: several pieces of 64 KiB
  expect(await all(folder)).toEqual(steps(1, 3000).map(line));
});

test('a resumed run holds every step once: what lies beyond its step is cut off', async () => {
  const folder = join(root, 'b');
  await write(folder, 0, 1, 9);
  expect(await write(folder, 6, 7, 8)).toEqual(steps(1, 6));
  expect((await all(folder)).map(({ step }) => step)).toEqual(steps(1, 8));
  expect(await write(folder, 8, 9, 9)).toEqual(steps(1, 8));
  expect(await write(folder, 0, 1, 1)).toEqual([]);
  expect(await all(folder)).toEqual([line(1)]);
});

test('a line torn at any byte is passed over, and cut off before the next one comes', async () => {
  const folder = join(root, 'c');
  await write(folder, 0, 1, 4);
  const path = join(folder, 'metrics.jsonl');
  const whole = readFileSync(path);
  const start = whole.lastIndexOf('\n', whole.length - 2) + 1;
  for (let length = start; length < whole.length; length++) {
    writeFileSync(path, whole);
    truncateSync(path, length);
    expect((await all(folder)).map(({ step }) => step)).toEqual([1, 2, 3]);
    expect(await write(folder, 10, 11, 11)).toEqual([1, 2, 3]);
    expect((await all(folder)).map(({ step }) => step)).toEqual([1, 2, 3, 11]);
  }
});

test.each(['\0\0\0\0\n', 'null\n', '{"step":4}\n', `${JSON.stringify(line(2))}\n`])(
  'reading stops at %j, which no run writes there',
  async (tail) => {
    const folder = join(root, 'd');
    await write(folder, 0, 1, 3);
    appendFileSync(join(folder, 'metrics.jsonl'), tail + JSON.stringify(line(5)));
    expect((await all(folder)).map(({ step }) => step)).toEqual([1, 2, 3]);
  },
);

test('what is not finite is null', async () => {
  const folder = join(root, 'e');
  const file = await MetricsFile.open(folder, 0, () => {});
  file.append({ ...line(1), loss: Number.NaN, gradientNorm: Number.POSITIVE_INFINITY });
  await file.close();
  expect(await all(folder)).toEqual([{ ...line(1), loss: null, gradientNorm: null }]);
});

test('files that cannot be had are named', async () => {
  await expect(all(join(root, 'none'))).rejects.toThrow(/none.*metrics\.jsonl/);
  await expect(all('')).rejects.toThrow(OptionError);
  const folder = join(root, 'f');
  mkdirSync(join(folder, 'metrics.jsonl'), { recursive: true });
  await expect(MetricsFile.open(folder, 0, () => {})).rejects.toThrow(FileFormatError);
  await expect(MetricsFile.open(folder, 0, () => {})).rejects.toThrow(/metrics\.jsonl/);
});

test('a full disk fails the line after and the end, naming the file', async () => {
  const folder = join(root, 'g');
  const other = await open(join(root, 'other'), 'w');
  const full = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC', syscall: 'write' });
  const refuse = vi.spyOn(Object.getPrototypeOf(other), 'appendFile').mockRejectedValue(full);
  const file = await MetricsFile.open(folder, 0, () => {});
  file.append(line(1));
  await new Promise((resolve) => setTimeout(resolve, 10));
  expect(() => file.append(line(2))).toThrow(/metrics\.jsonl.*no space left/);
  await expect(file.close()).rejects.toThrow(FileFormatError);
  refuse.mockRestore();
  await other.close();
});

test('a file that is no metrics file is not read to its end', async () => {
  const folder = join(root, 'h');
  mkdirSync(folder);
  symlinkSync('/dev/zero', join(folder, 'metrics.jsonl'));
  expect(await all(folder)).toEqual([]);
});
