import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DatasetError, type Device, FileFormatError, ImageDataset, openDevice, Trainer } from '../../lib/index.js';
import { imageFolders } from '../support/imageFolder.js';
import { temporaryFolder } from '../support/temporaryFolder.js';
import { bitsOf, take, tinyData, tinyModel, tinyTrainer } from '../train/tiny.js';

const runs = temporaryFolder();
const folderOf = imageFolders();
const count = 11;
const bytes = 8 * 8 * 3;

let device: Device;
let folder: string;
const pictures = tinyData(count).images;
const image = (index: number) => pictures.slice(index * bytes, (index + 1) * bytes);

beforeAll(async () => {
  device = await openDevice('cpu', { threads: 1 });
  const files = Array.from({ length: count }, async (_, i) => {
    const file = await sharp(image(i), { raw: { width: 8, height: 8, channels: 3 } })
      .png()
      .toBuffer();
    return [`${i % 2}/${String(i).padStart(2, '0')}.png`, file] as const;
  });
  folder = await folderOf(Object.fromEntries(await Promise.all(files)));
});
afterAll(() => device.close());

const openFolder = (options = {}) => ImageDataset.folder(folder, { size: 8, ...options });
/** A model with classes on these data. */
const trainerOf = (data: ImageDataset, directory?: string) =>
  tinyTrainer(device, { model: tinyModel(device, { numClasses: 2 }), data, ...(directory ? { directory } : {}) });

describe('a run on a folder that is streamed', () => {
  it('is the run in memory, also when it was stopped and goes on with another cache', async () => {
    const [whole, directory] = [trainerOf(await openFolder()), join(runs, 'streamed')];
    const expected = await take(whole, 8); // almost three epochs
    using first = trainerOf(await openFolder({ cacheBytes: 0 }), directory);
    const losses = await take(first, 3);
    await first.save();
    using again = await Trainer.resume(directory, { device, data: await openFolder({ cacheBytes: 4 * bytes, prefetch: 5 }) });
    losses.push(...(await take(again, 2)));
    await again.save();
    using last = await Trainer.resume(directory, { device, data: await openFolder() });
    losses.push(...(await take(last, 3)));
    expect(losses).toEqual(expected);
    expect(await bitsOf(last)).toEqual(await bitsOf(whole));
    await writeFile(join(folder, '1', '99.png'), await sharp(join(folder, '1', '01.png')).toBuffer());
    const more = await openFolder({ cacheBytes: 0 });
    await expect(Trainer.resume(directory, { device, data: more })).rejects.toThrow(DatasetError);
    await rm(join(folder, '1', '99.png'));
  });

  it('ends with the file that it cannot read, and goes on once that is mended', async () => {
    const file = join(folder, '1', '07.png');
    const content = await sharp(file).png().toBuffer();
    const trainer = trainerOf(await openFolder({ cacheBytes: 0 }));
    await writeFile(file, 'no image');
    const failed = take(trainer, 8);
    await expect(failed).rejects.toThrow(FileFormatError);
    await expect(failed).rejects.toThrow(file);
    await writeFile(file, content);
    await take(trainer, 8 - trainer.step);
    const whole = trainerOf(await openFolder());
    await take(whole, 8);
    expect(await bitsOf(trainer)).toEqual(await bitsOf(whole));
  });
});

describe('a run on an iterable', () => {
  /** Counts what happens to the iterators of a source. */
  function watched(items: (index: number) => unknown = (i) => ({ image: image(i), label: i % 2 }), length?: number) {
    const seen = { begun: 0, returned: 0 };
    const data = ImageDataset.from(
      async function* () {
        seen.begun++;
        try {
          for (let i = 0; i < count; i++) yield (await items(i)) as Uint8Array;
        } finally {
          seen.returned++;
        }
      },
      { size: [8, 8, 3], ...(length ? { length } : {}) },
    );
    return { data, seen };
  }

  it.each([undefined, count])('goes on after a resume as if it had never stopped; length %o', async (length) => {
    const directory = join(runs, `iterable${length}`);
    const whole = trainerOf(watched(undefined, length).data);
    const expected = await take(whole, 7);
    using first = trainerOf(watched(undefined, length).data, directory);
    const losses = [...(await take(first, 2)), ...(await take(first, 2))];
    await first.save();
    using again = await Trainer.resume(directory, { device, data: watched(undefined, length).data });
    losses.push(...(await take(again, 3)));
    expect(losses).toEqual(expected);
    expect(await bitsOf(again)).toEqual(await bitsOf(whole));
  });

  it('keeps its place between runs, and lets go of it when disposed of', async () => {
    const { data, seen } = watched(undefined, count);
    const trainer = trainerOf(data);
    for (let run = 0; run < 4; run++) await take(trainer, 1);
    expect(seen.begun).toBeLessThanOrEqual(Math.ceil(((4 + 2) * 4) / count));
    trainer.dispose();
    await wait(10);
    expect(seen.returned).toBe(seen.begun);
  });

  it('calls return() when it is aborted or left, and can go on', async () => {
    const { data, seen } = watched(undefined, count);
    const trainer = trainerOf(data);
    const controller = new AbortController();
    const aborted = (async () => {
      for await (const { step } of trainer.run({ steps: 50, signal: controller.signal })) if (step === 2) controller.abort();
    })();
    await expect(aborted).rejects.toMatchObject({ name: 'AbortError' });
    expect(seen.returned).toBe(seen.begun);
    for await (const _ of trainer.run({ steps: 50 })) break;
    expect(seen.returned).toBe(seen.begun);
    await take(trainer, 12 - trainer.step);
    const whole = trainerOf(watched().data);
    await take(whole, 12);
    expect(await bitsOf(trainer)).toEqual(await bitsOf(whole));
  });

  it('is aborted although its source hangs', async () => {
    const { data } = watched((i) => (i < 6 ? { image: image(i), label: 0 } : new Promise(() => {})));
    const controller = new AbortController();
    const steps: number[] = [];
    const aborted = (async () => {
      for await (const { step } of trainerOf(data).run({ steps: 9, signal: controller.signal })) steps.push(step);
    })();
    setTimeout(() => controller.abort(), 300);
    await expect(aborted).rejects.toMatchObject({ name: 'AbortError' });
  });

  it('reports what the source throws, at the step that needs it', async () => {
    const cause = new Error('disk on fire');
    const { data, seen } = watched((i) => {
      if (i === 9) throw cause;
      return { image: image(i), label: 0 };
    });
    const trainer = trainerOf(data);
    const failed = take(trainer, 5);
    await expect(failed).rejects.toThrow(DatasetError);
    await expect(failed).rejects.toMatchObject({ cause });
    expect(trainer.step).toBe(2);
    expect(seen).toEqual({ begun: 1, returned: 1 });
  });

  it('must have labels for a model with classes, below their number', async () => {
    await expect(take(trainerOf(watched((i) => image(i)).data), 1)).rejects.toThrow('image 0 of epoch 0 has no label');
    const { data } = watched((i) => ({ image: image(i), label: i }));
    await expect(take(trainerOf(data), 1)).rejects.toThrow('image 2 of epoch 0 has label 2, expected an integer from 0 to 1');
    const classes = ImageDataset.from([], { size: [8, 8, 3], numClasses: 3 });
    expect(() => trainerOf(classes)).toThrow('the data have 3 classes, the model 2');
    expect(() => trainerOf(ImageDataset.from([], { size: [8, 9, 3] }))).toThrow('the data are 8×9, the model is for 8×8');
  });
});
