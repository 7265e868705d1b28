import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Device } from '../../lib/index.js';
import { DeviceError, OptionError, OutOfMemoryError, openDevice } from '../../lib/index.js';
import { add } from '../../lib/ops/broadcast.js';
import { silu } from '../../lib/ops/elementwise.js';

// A device that a handful of 4 MB tensors fill.
const million = [1_000_000];
let device: Device;
beforeEach(async () => {
  device = await openDevice('cpu', { memoryLimit: 22_000_000 });
});
afterEach(() => device.close());

test('a program keeps the memory that it runs in, however scarce memory becomes', async () => {
  const x = device.full(million, 1);
  const program = device.record(() => device.scope(() => silu(silu(silu(x)))));
  const before = (await program.result.read())[999_999];
  expect(() => device.full([5_000_000], 1)).toThrow(OutOfMemoryError);
  x.write(new Float32Array(1_000_000).fill(1));
  program.run();
  expect((await program.result.read())[999_999]).toBe(before);
  program.result.dispose();
  program.dispose();
  x.dispose();
  expect((await device.full([5_000_000], 3).read())[4_999_999]).toBe(3); // needs what the program ran in
});

test('a recording whose result finds no memory fails, loses that result alone, and does not block the next', async () => {
  const x = device.full([2_000_000], 1);
  let lost: ReturnType<typeof silu> | undefined;
  const record = () =>
    device.record(() => {
      lost = silu(x);
      return lost;
    });
  expect(record).toThrow(OutOfMemoryError);
  await expect(lost?.read()).rejects.toThrow(OutOfMemoryError);
  lost?.write(new Float32Array(2_000_000));
  await expect(lost?.read()).rejects.toThrow(OutOfMemoryError); // its place may be written over at any time
  expect((await x.read())[7]).toBe(1);
  lost?.dispose();
  x.dispose();
  const small = device.full([10], 2);
  const program = device.record(() => add(small, small));
  program.run();
  expect((await program.result.read())[9]).toBe(4);
});

test('unused memory makes room for data on its way', async () => {
  const x = device.zeros([250_000]);
  device.full([5_200_000], 0).dispose();
  expect(device.memory().reservedBytes).toBeGreaterThan(21_000_000 + 1);
  x.write(new Float32Array(250_000).fill(5));
  expect((await x.read())[249_999]).toBe(5);
});

test('reads and writes that fail leave nothing behind', async () => {
  const x = device.full([2, 2, 2, 1], 1);
  const used = device.memory().usedBytes;
  let reading: Promise<unknown> | undefined;
  const program = device.record(() => {
    reading = x.read({ layout: 'nchw' });
  });
  await expect(reading).rejects.toThrow(DeviceError);
  program.dispose();
  expect(device.memory().usedBytes).toBe(used);
  const large = device.zeros([2_500_000], { dtype: 'bf16' }); // its data is twice as large and needs a place
  const others = [device.zeros(million), device.zeros(million), device.zeros(million)];
  const full = device.memory().usedBytes;
  expect(() => large.write(new Float32Array(2_500_000))).toThrow(OutOfMemoryError);
  expect(device.memory().usedBytes).toBe(full);
  expect(others).toHaveLength(3);
});

test('a device that cannot open leaves no thread', async () => {
  const threads = () => Number(/^Threads:\s*(\d+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]);
  await expect(openDevice('cpu', { threads: 1000 })).rejects.toThrow(OptionError);
  const before = threads();
  for (let i = 0; i < 20; i++) await expect(openDevice('cpu', { threads: 1000 })).rejects.toThrow(/threads must be between/);
  expect(threads()).toBeLessThan(before + 10);
});

test('no program runs inside a recording, nor where the recording is paused; closing is refused', async () => {
  const x = device.full([4], 1);
  const other = device.record(() => silu(x));
  const program = device.record(() => {
    expect(() => device.outsideRecording(() => other.run())).toThrow(DeviceError);
    return add(x, x);
  });
  expect([...(await program.result.read())]).toEqual([2, 2, 2, 2]);
  let closing: Promise<void> | undefined;
  device.record(() => {
    closing = device.close();
  });
  await expect(closing).rejects.toThrow(/recording/);
  expect(device.closed).toBe(false);
});

test('an array whose buffer shrinks afterwards', async () => {
  const options = { maxByteLength: 8_000_000 };
  const buffer = Reflect.construct(ArrayBuffer, [8_000_000, options]) as ArrayBuffer & { resize(bytes: number): void };
  const values = new Float32Array(buffer).fill(3);
  const busy = device.randn(million, { seed: 1 });
  for (let i = 0; i < 20; i++) silu(busy).dispose();
  const x = device.tensor(values, [2_000_000]);
  buffer.resize(0);
  expect((await x.read())[1_999_999]).toBe(3);
});
