import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Device, Tensor } from '../../lib/index.js';
import { DeviceError, DisposedError, OptionError, openDevice } from '../../lib/index.js';
import { add } from '../../lib/ops/broadcast.js';
import { silu } from '../../lib/ops/elementwise.js';
import { eachDevice } from '../support/devices.js';

eachDevice((id) => {
  let device: Device;
  beforeEach(async () => {
    device = await openDevice(id);
  });
  afterEach(() => device.close());

  const values = async (tensor: Tensor) => [...(await tensor.read())];

  test('run() repeats the recorded operations on the present contents', async () => {
    const x = device.tensor([1, 2, 3], [3]);
    const program = device.record(() => add(add(x, x), x));
    expect(await values(program.result)).toEqual([3, 6, 9]);
    x.write([10, 20, 30]);
    program.run();
    expect(await values(program.result)).toEqual([30, 60, 90]);
  });

  test('keeps what it touches: handles may be disposed, and their memory is not given away', async () => {
    const x = device.tensor([1, 2, 3], [3]);
    const program = device.record(() => add(x, x));
    x.dispose();
    const others = Array.from({ length: 50 }, (_, i) => device.full([3], i));
    program.run();
    expect(await values(program.result)).toEqual([2, 4, 6]);
    expect(await values(others[49] as Tensor)).toEqual([49, 49, 49]);
  });

  test('two programs share their temporary memory and keep their results apart', async () => {
    const x = device.tensor(new Float32Array(1000).fill(1), [1000]);
    const double = (tensor: Tensor) => device.scope(() => add(tensor, tensor));
    const first = device.record(() => device.scope(() => double(double(x))));
    const before = device.memory().usedBytes;
    const second = device.record(() => device.scope(() => double(double(double(x)))));
    expect(device.memory().usedBytes - before).toBeLessThan(2 * 4096 + 512);
    for (let round = 0; round < 3; round++) {
      x.write(new Float32Array(1000).fill(round));
      first.run();
      second.run();
      first.run();
      expect((await values(first.result))[999]).toBe(4 * round);
      expect((await values(second.result))[999]).toBe(8 * round);
    }
  });

  test('reads of one run are not disturbed by the next', async () => {
    const x = device.tensor([1], [1]);
    const program = device.record(() => add(x, x));
    const reads = [];
    for (let i = 0; i < 20; i++) {
      x.write([i]);
      program.run();
      reads.push(program.result.read());
    }
    expect((await Promise.all(reads)).map(([value]) => value)).toEqual(Array.from({ length: 20 }, (_, i) => 2 * i));
  });

  test('draws without a seed differ at every run; draws with a seed do not', async () => {
    const free = device.record(() => device.randn([4]));
    const seeded = device.record(() => device.randn([4], { seed: 3 }));
    const [freeBefore, seededBefore] = [await values(free.result), await values(seeded.result)];
    free.run();
    seeded.run();
    expect(await values(free.result)).not.toEqual(freeBefore);
    expect(await values(seeded.result)).toEqual(seededBefore);
  });

  test('dispose frees everything; a run afterwards is a DisposedError', () => {
    const before = device.memory().usedBytes;
    const program = device.record(() => device.scope(() => silu(device.full([5000], 1))));
    program.result.dispose();
    program.dispose();
    program.dispose();
    expect(device.memory().usedBytes).toBe(before);
    expect(() => program.run()).toThrow(DisposedError);
  });

  test('refuses reading, nesting, running and async functions inside, and works again afterwards', async () => {
    const x = device.tensor([1], [1]);
    const other = device.record(() => silu(x));
    expect(() => device.record(() => device.record(() => silu(x)))).toThrow(DeviceError);
    expect(() => device.record(() => other.run())).toThrow(DeviceError);
    expect(() => device.record(async () => silu(x))).toThrow(OptionError);
    let reading: Promise<unknown> | undefined;
    device.record(() => {
      reading = x.read();
    });
    await expect(reading).rejects.toThrow(/inside a recording/);
    const again = device.record(() => add(x, x));
    expect(await values(again.result)).toEqual([2]);
  });
});
