import { setImmediate as nextTurn, setTimeout as wait } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { ImageCache } from '../../lib/data/imageCache.js';
import { LookAhead } from '../../lib/data/lookAhead.js';

describe('LookAhead', () => {
  it.each([1, 2, 5])('hands out in order what %i loads at once finish in any', async (workers) => {
    const begun: number[] = [];
    let [running, most] = [0, 0];
    const ahead = new LookAhead(100, workers, async (position) => {
      begun.push(position);
      most = Math.max(most, ++running);
      await wait((position * 7) % 5);
      running--;
      return position * 2;
    });
    const entries: number[] = [];
    for (let position = 100; position < 140; position++) entries.push(await ahead.next(position + 8));
    expect(entries).toEqual(Array.from({ length: 40 }, (_, i) => 200 + 2 * i));
    expect(begun).toEqual(begun.toSorted((a, b) => a - b));
    expect(most).toBe(workers);
  });

  it('never runs beyond the limit', async () => {
    const begun: number[] = [];
    const ahead = new LookAhead(0, 4, async (position) => begun.push(position));
    await ahead.next(0);
    await wait(20);
    expect(begun).toEqual([0]);
    await ahead.next(6);
    await wait(20);
    expect(begun).toEqual([0, 1, 2, 3, 4, 5]);
    ahead.stop();
  });

  it('reports a failure in its turn and begins nothing after it', async () => {
    const begun: number[] = [];
    const ahead = new LookAhead(0, 3, async (position) => {
      begun.push(position);
      await wait(position === 5 ? 0 : 5);
      if (position === 5) throw new Error('five');
      return position;
    });
    for (let position = 0; position < 5; position++) expect(await ahead.next(1000)).toBe(position);
    await expect(ahead.next(1000)).rejects.toThrow('five');
    await wait(20);
    expect(Math.max(...begun)).toBeLessThanOrEqual(5 + 3);
  });

  it('gives way to a signal although the load hangs', async () => {
    const ahead = new LookAhead(0, 1, () => new Promise<never>(() => {}));
    const controller = new AbortController();
    for (const asked of [ahead.next(5, controller.signal), ahead.next(5, controller.signal)]) {
      setTimeout(() => controller.abort(), 5);
      await expect(asked).rejects.toMatchObject({ name: 'AbortError' });
    }
  });

  it('lets the event loop turn although every entry is there at once', async () => {
    const ahead = new LookAhead(0, 4, async (position) => position);
    let [turns, done] = [0, false];
    const turning = (async () => {
      for (; !done; turns++) await nextTurn();
    })();
    const end = performance.now() + 5000; // on a busy machine
    for (let position = 0; turns <= 5 && performance.now() < end; position++) await ahead.next(position + 1000);
    done = true;
    await turning;
    ahead.stop();
    expect(turns).toBeGreaterThan(5);
  });
});

describe('ImageCache', () => {
  it.each([3, 700, 2 ** 20, 2 ** 20 + 1])('keeps the first images of %i bytes that fit, and copies them', (imageBytes) => {
    const capacity = 4;
    const cache = new ImageCache(10, imageBytes, capacity * imageBytes + imageBytes - 1);
    const image = new Uint8Array(imageBytes);
    for (const index of [9, 2, 9, 5, 7, 1, 0]) cache.add(index, image.fill(index));
    expect(cache.size).toBe(capacity);
    for (const index of [9, 2, 5, 7]) {
      expect(cache.get(index)?.length).toBe(imageBytes);
      expect(cache.get(index)?.every((value) => value === index)).toBe(true);
    }
    for (const index of [1, 0, 3]) expect(cache.get(index)).toBeUndefined();
  });

  it('keeps many small images apart', () => {
    const count = 400_000; // more than a chunk holds
    const cache = new ImageCache(count, 7, 1e7);
    for (let index = 0; index < count; index++) cache.add(index, new Uint8Array(7).fill(index % 251));
    expect(cache.size).toBe(count);
    for (let index = 0; index < count; index += 997) expect(cache.get(index)?.[6]).toBe(index % 251);
  });

  it('keeps none without memory', () => {
    const cache = new ImageCache(1, 10, 9);
    cache.add(0, new Uint8Array(10));
    expect(cache.size).toBe(0);
  });
});
