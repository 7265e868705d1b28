import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Device, Tensor } from '../../lib/index.js';
import { DisposedError, OptionError, openDevice } from '../../lib/index.js';
import { add } from '../../lib/ops/broadcast.js';
import { silu } from '../../lib/ops/elementwise.js';
import { eachDevice } from '../support/devices.js';

eachDevice((id) => {
  let device: Device;
  beforeEach(async () => {
    device = await openDevice(id);
  });
  afterEach(() => device.close());

  const usedBytes = () => device.memory().usedBytes;

  describe('dispose', () => {
    test('gives the memory back, and a second call does nothing', () => {
      const before = usedBytes();
      const x = device.zeros([1000]);
      expect(usedBytes()).toBeGreaterThanOrEqual(before + 4000);
      x.dispose();
      x.dispose();
      expect(x.disposed).toBe(true);
      expect(usedBytes()).toBe(before);
    });

    test('a use afterwards is a DisposedError that names the argument', async () => {
      const x = device.zeros([3]);
      const y = device.zeros([3]);
      x.dispose();
      expect(() => add(y, x)).toThrow(DisposedError);
      expect(() => add(y, x)).toThrow(/add: b has been disposed/);
      await expect(x.read()).rejects.toThrow(DisposedError);
      expect(() => x.write([1, 2, 3])).toThrow(DisposedError);
    });

    test('does not touch a read that is under way, nor memory that is used again', async () => {
      const x = device.full([50_000], 7);
      const reading = x.read();
      x.dispose();
      const y = device.full([50_000], 9); // may take the memory of x
      expect(new Set(await reading)).toEqual(new Set([7]));
      expect(new Set(await y.read())).toEqual(new Set([9]));
    });

    test('`using` is dispose at the end of the block', () => {
      let kept: Tensor;
      {
        using x = device.zeros([2]);
        kept = x;
      }
      expect(kept.disposed).toBe(true);
    });
  });

  describe('scope', () => {
    test('frees what was made inside, and keeps what is returned in plain containers', () => {
      const before = usedBytes();
      let temporary: Tensor | undefined;
      const kept = device.scope(() => {
        const x = device.full([10], 2);
        temporary = silu(x);
        return { list: [x], map: new Map([['y', add(x, temporary)]]) };
      });
      expect(temporary?.disposed).toBe(true);
      expect(kept.list[0]?.disposed).toBe(false);
      expect(kept.map.get('y')?.disposed).toBe(false);
      kept.list[0]?.dispose();
      kept.map.get('y')?.dispose();
      expect(usedBytes()).toBe(before);
    });

    test('what an inner scope returns belongs to the outer one', () => {
      let inner: Tensor | undefined;
      device.scope(() => {
        inner = device.scope(() => device.zeros([4]));
        expect(inner.disposed).toBe(false);
      });
      expect(inner?.disposed).toBe(true);
    });

    test('frees on an exception, and refuses an async function', () => {
      const before = usedBytes();
      expect(() =>
        device.scope(() => {
          device.zeros([100]);
          throw new RangeError('mine');
        }),
      ).toThrow(RangeError);
      expect(() => device.scope(async () => device.zeros([100]))).toThrow(OptionError);
      expect(usedBytes()).toBe(before);
    });
  });

  describe('close', () => {
    test('may be called twice; everything afterwards is a DisposedError', async () => {
      const x = device.zeros([4]);
      const program = device.record(() => silu(x));
      const reading = silu(x).read();
      await device.close();
      await device.close();
      expect(await reading).toEqual(new Float32Array(4));
      expect(() => device.zeros([4])).toThrow(DisposedError);
      expect(() => silu(x)).toThrow(DisposedError);
      expect(() => program.run()).toThrow(DisposedError);
      expect(() => device.memory()).toThrow(DisposedError);
      await expect(x.read()).rejects.toThrow(DisposedError);
      await expect(device.synchronize()).rejects.toThrow(DisposedError);
      x.dispose();
      program.dispose();
    });
  });
});
