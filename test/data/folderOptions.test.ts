import { join } from 'node:path';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { DatasetError, FileFormatError, ImageDataset, OptionError } from '../../lib/index.js';
import { imageFolders } from '../support/imageFolder.js';

const folderOf = imageFolders();
const picture = (background: string, width = 4, height = 4) =>
  sharp({ create: { width, height, channels: 3, background } })
    .png()
    .toBuffer();
const broken = Buffer.from('no image');
/** The red of the first pixel of every image. */
const reds = ({ images, length }: ImageDataset) => Array.from({ length }, (_, i) => images[(i * images.length) / length]);

describe('option labels', () => {
  it('true demands that every image has a class, at any depth', async () => {
    const files = {
      'b/x/y/1.png': await picture('#010000'),
      'a/2.png': await picture('#020000'),
      'a/0/3.png': await picture('#030000'),
    };
    const data = await ImageDataset.folder(await folderOf(files), { size: 4, labels: true });
    expect(data).toMatchObject({ classNames: ['a', 'b'], numClasses: 2, labelled: true });
    expect(reds(data)).toEqual([3, 2, 1]);
    expect([...(data.labels ?? [])]).toEqual([0, 0, 1]);
    const mixed = await folderOf({ ...files, 'stray.png': await picture('red') });
    const refused = ImageDataset.folder(mixed, { size: 4, labels: true });
    await expect(refused).rejects.toThrow(DatasetError);
    await expect(refused).rejects.toThrow(`${join(mixed, 'stray.png')} lies in no class folder`);
  });

  it('false leaves the sub-folders without a meaning, even empty ones', async () => {
    const folder = await folderOf({ 'a/1.png': await picture('red'), 'b/notes.txt': 'x' });
    const data = await ImageDataset.folder(folder, { size: 4, labels: false });
    expect(data).toMatchObject({ length: 1, labels: null, classNames: null, numClasses: 0, labelled: false });
    await expect(ImageDataset.folder(folder, { size: 4 })).rejects.toThrow(`class folder ${join(folder, 'b')} holds no image`);
  });
});

describe.each([
  ['in memory', undefined],
  ['streamed', 0],
])('option onCorrupt, %s', (_, cacheBytes) => {
  const options = { size: 4, ...(cacheBytes === undefined ? {} : { cacheBytes }) };
  const files = async () => ({
    'a/1.png': broken,
    'a/2.png': await picture('#020000'),
    'b/3.png': await picture('#030000'),
    'b/4.png': (await picture('#040000')).subarray(0, 60),
    'c/5.png': await picture('#050000'),
    'd/6.png': broken,
  });

  it("'skip' leaves out what cannot be decoded and says what that was", async () => {
    const folder = await folderOf(await files());
    const progress: number[] = [];
    const data = await ImageDataset.folder(folder, { ...options, onCorrupt: 'skip', onProgress: (done) => progress.push(done) });
    expect(data).toMatchObject({ length: 3, classNames: ['a', 'b', 'c', 'd'], streamed: cacheBytes === 0 });
    expect(progress).toEqual([1, 2, 3, 4, 5, 6]);
    expect([...(data.labels ?? [])]).toEqual([0, 1, 2]);
    expect(data.skipped).toEqual(['a/1.png', 'b/4.png', 'd/6.png'].map((name) => join(folder, name)));
    const images = new Uint8Array(3 * 48);
    const labels = new Int32Array(3);
    await data.open({ batchSize: 3, seed: 0, labelled: true }).read(0, images, labels);
    expect([...labels.keys()].map((k) => [labels[k], images[k * 48]]).sort()).toEqual([
      [0, 2],
      [1, 3],
      [2, 5],
    ]);
  });

  it('a set without the broken files is the same one', async () => {
    const folder = await folderOf(await files());
    const skipping = await ImageDataset.folder(folder, { ...options, labels: false, onCorrupt: 'skip' });
    const { 'a/1.png': a, 'b/4.png': b, 'd/6.png': d, ...whole } = await files();
    const clean = await ImageDataset.folder(await folderOf(whole), { size: 4, labels: false });
    expect(clean.skipped).toEqual([]);
    expect(await skipping.fingerprint()).toBe(await clean.fingerprint());
  });

  it('a folder of nothing else is refused', async () => {
    const folder = await folderOf({ 'a.png': broken });
    const refused = ImageDataset.folder(folder, { ...options, onCorrupt: 'skip' });
    await expect(refused).rejects.toThrow(DatasetError);
    await expect(refused).rejects.toThrow(`none of the 1 images in ${folder} is readable`);
  });

  it("'throw' names the file", async () => {
    const folder = await folderOf({ 'a.png': await picture('red'), 'b.png': broken });
    const read = async () => {
      const data = await ImageDataset.folder(folder, options);
      await data.open({ batchSize: 2, seed: 0, labelled: false }).read(0, new Uint8Array(2 * 48), null);
    };
    await expect(read()).rejects.toThrow(FileFormatError);
    await expect(read()).rejects.toThrow(join(folder, 'b.png'));
  });
});

it('empty folders are refused whether streamed or not', async () => {
  const folder = await folderOf({ 'deep/er/notes.txt': 'x' });
  for (const options of [{ size: 4 }, { size: 4, cacheBytes: 0 }]) {
    await expect(ImageDataset.folder(folder, options)).rejects.toThrow(DatasetError);
  }
});

it('other sizes than square ones are cropped, letterboxed or stretched to odd shapes', async () => {
  const folder = await folderOf({ 'a.png': await picture('#408020', 9, 31), 'b.webp': await picture('#408020', 31, 9) });
  for (const fit of ['cover', 'contain', 'fill'] as const) {
    for (const size of [[5, 3], [1, 17], 7] as const) {
      const data = await ImageDataset.folder(folder, { size, fit, background: '#408020' });
      expect(data.shape).toEqual(typeof size === 'number' ? [7, 7, 3] : [...size, 3]);
      expect(data.images.every((value, i) => Math.abs(value - ([64, 128, 32][i % 3] as number)) <= 1)).toBe(true);
    }
  }
});

it('wrong options are refused by name', async () => {
  const folder = await folderOf({ 'a.png': await picture('red') });
  for (const [name, value] of Object.entries({ labels: 'yes', onCorrupt: 'ignore', cacheBytes: -1, prefetch: 1.5 })) {
    const refused = ImageDataset.folder(folder, { size: 4, [name]: value } as never);
    await expect(refused).rejects.toThrow(OptionError);
    await expect(refused).rejects.toThrow(`option '${name}'`);
  }
});

describe('the fingerprint of a folder', () => {
  it('is that of its files and of what is made of them, in memory or not', async () => {
    const files = { 'a/1.png': await picture('red'), 'b/2.png': await picture('lime', 40, 30) };
    const print = async (contents: Record<string, Uint8Array>, options = {}) =>
      (await ImageDataset.folder(await folderOf(contents), { size: 4, ...options })).fingerprint();
    const first = await print(files);
    expect(await print(files, { cacheBytes: 0, prefetch: 5, onCorrupt: 'skip', labels: true })).toBe(first);
    const large = rawNoise(9000);
    const others = await Promise.all([
      print({ ...files, 'b/2.png': await picture('blue', 40, 30) }),
      print({ 'a/1.png': files['a/1.png'], 'c/2.png': files['b/2.png'] }),
      print(files, { size: 5 }),
      print(files, { fit: 'fill' }),
      print(files, { background: 'black' }),
      print(files, { labels: false }),
      print({ ...files, 'b/3.png': await noisePicture(large) }),
      print({ ...files, 'b/3.png': await noisePicture(large.with(4500, (large[4500] as number) ^ 1)) }),
    ]);
    expect(new Set([first, ...others]).size).toBe(1 + others.length);
  });

  it('names a file that is gone', async () => {
    const folder = await folderOf({ 'a.png': await picture('red'), 'b.png': await picture('red') });
    const data = await ImageDataset.folder(folder, { size: 4, cacheBytes: 0 });
    const { rename } = await import('node:fs/promises');
    await rename(join(folder, 'b.png'), join(folder, 'c.png'));
    await expect(data.fingerprint()).rejects.toThrow(FileFormatError);
    await expect(data.fingerprint()).rejects.toThrow(join(folder, 'b.png'));
    await rename(join(folder, 'c.png'), join(folder, 'b.png'));
    expect(await data.fingerprint()).toMatch(/^[0-9a-f]{64}$/);
  });
});

const rawNoise = (bytes: number) => Uint8Array.from({ length: bytes }, (_, i) => (Math.imul(i + 1, 0x9e3779b1) >>> 13) & 255);
/** A file too large to be hashed whole. */
const noisePicture = (pixels: Uint8Array) =>
  sharp(pixels, { raw: { width: 100, height: 30, channels: 3 } })
    .png({ compressionLevel: 0 })
    .toBuffer();
