import { constants } from 'node:buffer';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import sharp from 'sharp';
import { beforeAll, describe, expect, it } from 'vitest';
import type { FolderOptions } from '../../lib/data/folder.js';
import { DatasetError, FileFormatError, ImageDataset } from '../../lib/index.js';
import { Batches } from '../../lib/training/batches.js';
import { delayDuring, quietest } from '../support/eventLoop.js';
import { imageFolders } from '../support/imageFolder.js';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

const folderOf = imageFolders();
const [height, width] = [5, 7];
const count = 23;
const imageBytes = height * width * 3;
const names = Array.from({ length: count }, (_, i) => `${i % 3}/${String(i).padStart(2, '0')}.png`);
let folder: string;

/** Pictures of different sizes with different content. */
beforeAll(async () => {
  const files = names.map(async (name, i) => {
    const [h, w] = [6 + (i % 5), 9 + (i % 4)];
    const pixels = Uint8Array.from({ length: h * w * 3 }, (_, k) => 128 + 120 * Math.sin(k * 0.1 + i));
    return [
      name,
      await sharp(pixels, { raw: { width: w, height: h, channels: 3 } })
        .png()
        .toBuffer(),
    ] as const;
  });
  folder = await folderOf(Object.fromEntries(await Promise.all(files)));
});

const open = (options: Partial<FolderOptions> = {}) => ImageDataset.folder(folder, { size: [height, width], ...options });

/** Batches of some steps, one after the other. */
async function take(data: ImageDataset, steps: readonly number[], batchSize = 4, seed = 3) {
  const batches = new Batches(data, batchSize, { seed, labelled: true });
  const taken: { images: Uint8Array; labels: Int32Array | undefined }[] = [];
  for (const step of steps) {
    const { images, labels } = await batches.of(step);
    taken.push({ images: images.slice(), labels: labels?.slice() });
  }
  return taken;
}

const steps = Array.from({ length: 16 }, (_, step) => step); // almost three epochs

describe('a folder that is streamed', () => {
  it('gives the batches of one in memory, however far it reads ahead and whatever it keeps', async () => {
    const whole = await open();
    expect(whole.streamed).toBe(false);
    const expected = await take(whole, steps);
    for (const options of [
      { cacheBytes: 0, prefetch: 0 },
      { cacheBytes: 0, prefetch: 1 },
      { cacheBytes: 0 },
      { cacheBytes: 7 * imageBytes, prefetch: 5 },
      { cacheBytes: count * imageBytes - 1, prefetch: 2 },
    ]) {
      const data = await open(options);
      expect(data).toMatchObject({ streamed: true, length: count, numClasses: 3, classNames: ['0', '1', '2'] });
      expect(await take(data, steps)).toEqual(expected);
    }
    expect((await open({ cacheBytes: count * imageBytes })).streamed).toBe(false);
    expect(await take(await open({ cacheBytes: 0 }), steps, 4, 4)).not.toEqual(expected);
  });

  it('begins anywhere, and again elsewhere', async () => {
    const expected = await take(await open(), steps);
    const data = await open({ cacheBytes: 0 });
    const some = [9, 10, 3, 4, 15, 0, 0];
    expect(await take(data, some)).toEqual(some.map((step) => expected[step]));
  });

  const pixels = 6 * 3 * 16384 ** 2;
  const holds = constants.MAX_LENGTH < pixels ? '' : ' (skipped: an array of this version of Node.js could)';
  it.skipIf(holds)(`is one that no array could hold, whatever the memory${holds}`, async () => {
    const files = Object.fromEntries(names.slice(0, 6).map((name) => [name, 'not looked at yet']));
    const options = { size: 16384, cacheBytes: Number.MAX_SAFE_INTEGER };
    expect((await ImageDataset.folder(await folderOf(files), options)).streamed).toBe(true);
  });

  it('serves two readers at a time', async () => {
    const data = await open({ cacheBytes: 5 * imageBytes });
    const both = await Promise.all([take(data, steps), take(data, steps.slice(8))]);
    expect(both[1]).toEqual(both[0].slice(8));
    expect(both[0]).toEqual(await take(await open(), steps));
  });

  it('gives batches larger than the set', async () => {
    const [expected, got] = [await take(await open(), [0, 1], 60), await take(await open({ cacheBytes: 0 }), [0, 1], 60)];
    expect(got).toEqual(expected);
  });

  it('has no images in memory to show', async () => {
    const data = await open({ cacheBytes: 0 });
    expect(() => data.images).toThrow(DatasetError);
    expect(() => data.gather(Int32Array.of(0), new Uint8Array(imageBytes))).toThrow(/not all in memory/);
    expect(data.shape).toEqual([height, width, 3]);
  });

  it('reports a broken file at the step that needs it, at every depth of reading ahead', async () => {
    const files = Object.fromEntries(
      await Promise.all(names.map(async (name) => [name, await sharp(join(folder, name)).toBuffer()])),
    );
    const spoiled = await folderOf({ ...files, [names[11] as string]: Buffer.from('no image') });
    const failures: number[] = [];
    for (const prefetch of [0, 1, 4]) {
      const data = await ImageDataset.folder(spoiled, { size: [height, width], cacheBytes: 0, prefetch });
      const batches = new Batches(data, 4, { seed: 3, labelled: false });
      let step = 0;
      const failure = await (async () => {
        for (; step < 6; step++) await batches.of(step);
      })().catch((error) => error);
      expect(failure).toBeInstanceOf(FileFormatError);
      expect(failure.message).toContain(names[11]);
      failures.push(step);
      await expect(batches.of(step)).rejects.toThrow(FileFormatError);
      await writeFile(join(spoiled, names[11] as string), files[names[11] as string] as Buffer);
      expect((await batches.of(step)).images).toEqual((await take(await open(), [step]))[0]?.images);
      await writeFile(join(spoiled, names[11] as string), 'no image');
    }
    expect(failures[0]).toBeGreaterThan(0);
    expect(new Set(failures).size).toBe(1);
  });

  it('stops on a signal, and goes on afterwards', async () => {
    const data = await open({ cacheBytes: 0 });
    const batches = new Batches(data, 4, { seed: 3, labelled: true });
    const controller = new AbortController();
    const pending = batches.of(0, controller.signal);
    controller.abort();
    await expect(pending).rejects.toMatchObject({ name: 'AbortError' });
    await batches.close();
    expect((await batches.of(1)).images).toEqual((await take(await open(), [1]))[0]?.images);
  });
});

describe('a large folder', () => {
  const [files, side, batchSize] = [400, 96, 8];
  const imageBytes = side * side * 3;
  let large: string;
  const openLarge = () => ImageDataset.folder(large, { size: side, cacheBytes: 50 * imageBytes });

  beforeAll(async () => {
    const file = await sharp({ create: { width: 300, height: 200, channels: 3, background: 'teal' } })
      .jpeg()
      .toBuffer();
    large = await folderOf(Object.fromEntries(Array.from({ length: files }, (_, i) => [`${i}.jpg`, file])));
  });

  it('is read in bounded memory', async () => {
    const batches = new Batches(await openLarge(), batchSize, { seed: 0, labelled: false });
    const before = await arrayBytes();
    for (let step = 0; step < 20; step++) await batches.of(step);
    await wait(500); // it runs ahead as far as it may
    const taken = (await arrayBytes()) - before;
    await batches.close();
    // 50 images are kept and those of 2 batches wait; one more for what else comes and goes. All 400 would be 11 MB.
    expect(Math.abs(taken / imageBytes - (50 + 2 * batchSize))).toBeLessThan(1);
  });

  it('leaves the event loop free while it is decoded', { retry: 2 }, async () => {
    const data = await openLarge();
    const batches = new Batches(data, batchSize, { seed: 1, labelled: false });
    let step = 0;
    /** Calls again and again for a while. */
    const forAWhile = async (body: () => Promise<unknown>) => {
      for (const end = performance.now() + 120; performance.now() < end; ) await body();
    };
    const read = () => forAWhile(() => batches.of(step++));
    // The same load on the processor without our part in it.
    const decode = () => sharp(join(large, '0.jpg')).resize(side, side).raw().toBuffer();
    const bare = () => Promise.all([0, 1, 2, 3].map(() => forAWhile(decode)));
    await read();
    const control = await quietest(12, () => delayDuring(bare));
    const reading = await quietest(12, () => delayDuring(read));
    await batches.close();
    expect(step).toBeGreaterThan(20);
    expect(reading).toBeLessThan(control + 2);
  });
});

/** Bytes outside of the heap that arrays and buffers in use take. */
async function arrayBytes(): Promise<number> {
  for (let cycle = 0; cycle < 3; cycle++) {
    collectGarbage();
    await wait(20); // buffers of native code are freed in later turns
  }
  return process.memoryUsage().external;
}
