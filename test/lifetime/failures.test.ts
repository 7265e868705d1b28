import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Device, Tensor } from '../../lib/index.js';
import { DeviceMismatchError, DTypeError, OptionError, OutOfMemoryError, openDevice, ShapeError } from '../../lib/index.js';
import { add } from '../../lib/ops/broadcast.js';
import { silu } from '../../lib/ops/elementwise.js';
import { eachDevice } from '../support/devices.js';

eachDevice((id) => {
  let device: Device;
  beforeEach(async () => {
    device = await openDevice(id);
  });
  afterEach(() => device.close());

  /** A lookup with an index that only the executor can see to be wrong. */
  function failing(ids: Tensor): Tensor {
    const table = device.full([5, 2], 1);
    const y = device.empty([1, 2], 'f32');
    device.native.embedding(ids.handle, table.handle, 0, y.handle);
    return y;
  }

  test('a failed command marks what depends on it with the first cause; the rest goes on', async () => {
    const ids = device.tensor(Int32Array.of(12), [1]);
    const y = failing(ids);
    const z = silu(add(y, y));
    const sound = silu(device.full([2], 0));
    await expect(z.read()).rejects.toThrow(/embedding.*12/);
    await expect(y.read()).rejects.toThrow(/embedding.*12/);
    expect([...(await sound.read())]).toEqual([0, 0]);
    y.write([1, 2]);
    expect([...(await add(y, y).read())]).toEqual([2, 4]);
  });

  test('a rejection has the stack of the call that reads', async () => {
    const y = failing(device.tensor(Int32Array.of(-2), [1]));
    const error = await y.read().catch((caught: Error) => caught);
    expect((error as Error).stack).toContain('failures.test');
  });

  test('a program that fails in one run is sound again in the next', async () => {
    const ids = device.tensor(Int32Array.of(3), [1]);
    const program = device.record(() => silu(failing(ids)));
    ids.write([99]);
    program.run();
    await expect(program.result.read()).rejects.toThrow(/99/);
    ids.write([0]);
    program.run();
    expect((await program.result.read()).length).toBe(2);
  });

  test('the memory limit is an OutOfMemoryError with asked, used and limit, before anything runs', async () => {
    const small = await openDevice(id, { memoryLimit: 10_000_000 });
    const x = small.zeros([1_000_000]);
    const y = small.zeros([1_000_000]);
    expect(() => small.zeros([1_000_000])).toThrow(OutOfMemoryError);
    expect(() => small.zeros([1_000_000])).toThrow(/4000000.*limit 10000000|asked for \d+ bytes, \d+ in use, limit 10000000/);
    x.dispose();
    y.dispose();
    const z = small.full([2_000_000], 3); // needs both blocks in one piece
    expect((await z.read())[1_999_999]).toBe(3);
    await small.close();
  });

  test('limits hold inside a recording too, and the device stays usable', async () => {
    const small = await openDevice(id, { memoryLimit: 4_000_000 });
    const x = small.zeros([100]);
    expect(() => small.record(() => small.zeros([10_000_000]))).toThrow(OutOfMemoryError);
    expect((await silu(x).read()).length).toBe(100);
    await small.close();
  });

  test('a tensor of another device or of nowhere', async () => {
    const other = await openDevice(id);
    const [x, y] = [device.zeros([2]), other.zeros([2])];
    expect(() => add(x, y)).toThrow(DeviceMismatchError);
    expect(() => add(x, {} as Tensor)).toThrow(OptionError);
    await other.close();
  });

  test('impossible shapes, types and options', () => {
    for (const shape of [[], [0], [-1], [1.5], [Number.NaN], [1, 1, 1, 1, 1, 1, 1], 3, null, ['2']])
      expect(() => device.zeros(shape as number[]), String(shape)).toThrow(ShapeError);
    expect(() => device.zeros([2 ** 40, 2 ** 40])).toThrow(OutOfMemoryError);
    expect(() => device.zeros([1e15])).toThrow(OutOfMemoryError);
    expect(() => device.tensor([1, 2, 3], [2])).toThrow(ShapeError);
    expect(() => device.tensor(['a'] as unknown as number[], [1])).toThrow(DTypeError);
    expect(() => device.tensor(new Float64Array(2) as unknown as Float32Array, [2])).toThrow(DTypeError);
    expect(() => device.zeros([2], { dtype: 'f64' as 'f32' })).toThrow(DTypeError);
    expect(() => device.tensor([1], [1], { layuot: 'nchw' } as object)).toThrow(OptionError);
    expect(() => device.randn([2], { seed: -1 })).toThrow(OptionError);
    expect(() => device.randn([2], { seed: 1, speed: 2 } as object)).toThrow(OptionError);
    const x = device.zeros([2]);
    expect(() => x.write([1, 2, 3])).toThrow(ShapeError);
  });

  test('openDevice: unknown devices and options', async () => {
    await expect(openDevice('tpu')).rejects.toThrow(/no device 'tpu'/);
    await expect(openDevice('cuda:7')).rejects.toThrow(/cuda/);
    await expect(openDevice('cpu', { threads: 0 })).rejects.toThrow(OptionError);
    await expect(openDevice('cpu', { treads: 1 } as object)).rejects.toThrow(/unknown option 'treads'/);
  });
});
