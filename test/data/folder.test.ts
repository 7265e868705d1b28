import { existsSync } from 'node:fs';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { ImageDataset } from '../../lib/data/dataset.js';
import { DatasetError, FileFormatError, OptionError } from '../../lib/errors.js';
import { temporaryFolder } from '../support/temporaryFolder.js';

const root = temporaryFolder();
let folders = 0;

/** A new folder with these files: a colour becomes a 4×4 picture in the format of the name's extension. */
async function folderOf(files: Record<string, string | Buffer>): Promise<string> {
  const folder = join(root, `set${folders++}`);
  await mkdir(folder);
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    if (typeof content === 'string') await picture(content).toFile(join(folder, name));
    else await writeFile(join(folder, name), content);
  }
  return folder;
}

const picture = (background: string, width = 4, height = 4, channels: 3 | 4 = 3) =>
  sharp({ create: { width, height, channels, background } });

/** The first pixel of every image. */
const firstPixels = ({ images, length, channels }: ImageDataset) =>
  Array.from({ length }, (_, i) => [...images.subarray((i * images.length) / length, (i * images.length) / length + channels)]);

const [red, lime, blue] = [
  [255, 0, 0],
  [0, 255, 0],
  [0, 0, 255],
];

describe('ImageDataset.folder', () => {
  it('takes sub-folders as classes, in the order of their names', async () => {
    const folder = await folderOf({
      'b/2.png': 'lime',
      'b/10.webp': 'blue',
      'a/deep/er/x.PNG': 'red',
      'a/z.tiff': await picture('lime').tiff({ compression: 'lzw' }).toBuffer(),
      'a/.hidden.png': Buffer.from('no image'),
      '.cache/x.png': Buffer.from('no image'),
      'a/notes.txt': Buffer.from('no image'),
      'readme.md': Buffer.from('no image'),
    });
    const data = await ImageDataset.folder(folder, { size: 4 });
    expect(data).toMatchObject({ length: 4, shape: [4, 4, 3], classNames: ['a', 'b'], numClasses: 2 });
    expect([...(data.labels ?? [])]).toEqual([0, 0, 1, 1]);
    const pixels = firstPixels(data);
    expect([pixels[0], pixels[1], pixels[3]]).toEqual([red, lime, lime]);
    expect(pixels[2]?.[2]).toBeGreaterThan(250);
    expect(await data.fingerprint()).toBe(await (await ImageDataset.folder(folder, { size: 4 })).fingerprint());
  });

  it('gives no labels when images lie in the root', async () => {
    const flat = await ImageDataset.folder(await folderOf({ 'b.png': 'blue', 'a.png': 'red' }), { size: 4 });
    expect(flat).toMatchObject({ length: 2, labels: null, classNames: null, numClasses: 0 });
    expect(firstPixels(flat)).toEqual([red, blue]);
    const mixed = await ImageDataset.folder(await folderOf({ 'z.png': 'blue', 'c/a.png': 'red' }), { size: 4 });
    expect(mixed).toMatchObject({ length: 2, labels: null });
    expect(firstPixels(mixed)).toEqual([red, blue]);
  });

  it('follows links, but not in circles', async () => {
    const target = await folderOf({ 'a.png': 'red' });
    const folder = await folderOf({ 'c/b.png': 'lime' });
    await symlink(target, join(folder, 'linked'));
    await symlink(folder, join(folder, 'c', 'again'));
    const data = await ImageDataset.folder(folder, { size: 4 });
    expect(data).toMatchObject({ length: 2, classNames: ['c', 'linked'] });
    expect(firstPixels(data)).toEqual([lime, red]);
  });

  it('crops, letterboxes or stretches', async () => {
    const right = await picture('blue', 2, 4).png().toBuffer();
    const wide = await picture('red', 8, 4)
      .composite([{ input: right, left: 6, top: 0 }])
      .png()
      .toBuffer();
    const folder = await folderOf({ 'wide.png': wide });
    const row = async (fit: 'cover' | 'contain' | 'fill', y: number) => {
      const data = await ImageDataset.folder(folder, { size: 4, fit, background: 'lime' });
      return [0, 3].map((x) => [...data.images.subarray((y * 4 + x) * 3, (y * 4 + x) * 3 + 3)]);
    };
    expect(await row('cover', 0)).toEqual([red, red]);
    expect(await row('contain', 0)).toEqual([lime, lime]);
    const [left, end] = (await row('fill', 0)) as [number[], number[]];
    expect(left[0]).toBeGreaterThan(200);
    expect(end[2]).toBeGreaterThan(200);
    const odd = await ImageDataset.folder(folder, { size: [3, 7] });
    expect(odd).toMatchObject({ height: 3, width: 7 });
  });

  it('composites transparency, or keeps it with four channels', async () => {
    const folder = await folderOf({ 'half.png': await picture('rgb(255 0 0 / 0)', 4, 4, 4).png().toBuffer() });
    expect(firstPixels(await ImageDataset.folder(folder, { size: 4 }))).toEqual([[255, 255, 255]]);
    expect(firstPixels(await ImageDataset.folder(folder, { size: 4, background: '#0000ff' }))).toEqual([blue]);
    expect(firstPixels(await ImageDataset.folder(folder, { size: 4, channels: 1 }))).toEqual([[255]]);
    expect(firstPixels(await ImageDataset.folder(folder, { size: 4, channels: 4 }))).toEqual([[255, 0, 0, 0]]);
  });

  it('converts grey, 16-bit and rotated files', async () => {
    const grey = sharp(Buffer.alloc(16, 77), { raw: { width: 4, height: 4, channels: 1 } }).toColourspace('b-w');
    const folder = await folderOf({
      'a.png': await grey.png().toBuffer(),
      'b.png': '#4d4d4d',
      'c.png': await picture('#4d4d4d').toColourspace('rgb16').png().toBuffer(),
    });
    const rgb = await ImageDataset.folder(folder, { size: 4 });
    expect(firstPixels(rgb)).toEqual(Array(3).fill([77, 77, 77]));
    const luminance = firstPixels(await ImageDataset.folder(folder, { size: 4, channels: 1 })).flat();
    expect(luminance.slice(0, 2)).toEqual([77, 77]);
    // libvips weighs 16-bit RGB at 16 bits and then cuts to 8: one level of rounding either way.
    expect(Math.abs((luminance[2] as number) - 77)).toBeLessThanOrEqual(1);
    expect(firstPixels(await ImageDataset.folder(folder, { size: 4, channels: 4 }))).toEqual(Array(3).fill([77, 77, 77, 255]));
    const top = await picture('blue', 4, 2).png().toBuffer();
    const turned = picture('red')
      .composite([{ input: top, left: 0, top: 0 }])
      .withMetadata({ orientation: 3 });
    const rotated = await folderOf({ 'r.png': await turned.png().toBuffer() });
    expect(firstPixels(await ImageDataset.folder(rotated, { size: 4 }))).toEqual([red]);
  });

  it('reports progress and stops on a signal', async () => {
    const folder = await folderOf({
      'a.png': 'red',
      'b.png': 'red',
      'c.png': 'red',
      'd.png': 'red',
      'e.png': 'red',
      'f.png': 'red',
    });
    const calls: [number, number][] = [];
    await ImageDataset.folder(folder, { size: 4, onProgress: (done, total) => calls.push([done, total]) });
    expect(calls).toEqual([1, 2, 3, 4, 5, 6].map((done) => [done, 6]));
    const controller = new AbortController();
    const stopped = ImageDataset.folder(folder, { size: 4, signal: controller.signal, onProgress: () => controller.abort() });
    await expect(stopped).rejects.toMatchObject({ name: 'AbortError' });
  });
});

const tiles = join(__dirname, '../../../shared/data/dcss-tiles-32');
describe.skipIf(!existsSync(tiles))('hand-drawn 32×32 tiles with alpha', () => {
  it('are read with their two classes', async () => {
    const data = await ImageDataset.folder(tiles, { size: 32 });
    expect(data).toMatchObject({ length: 1282, shape: [32, 32, 3], classNames: ['items', 'monsters'] });
    expect(data.labels?.filter((label) => label === 1).length).toBe(674);
  });
});

describe('ImageDataset.folder refuses', () => {
  const failure = (path: string, options: object = { size: 4 }) =>
    ImageDataset.folder(path, options as { size: 4 }).then(
      () => new Error('nothing was thrown'),
      (error: Error) => error,
    );

  it('corrupt images, naming them', async () => {
    const whole = await picture('red', 64, 64).png({ compressionLevel: 0 }).toBuffer();
    for (const content of [Buffer.from('no image'), Buffer.alloc(0), whole.subarray(0, whole.length >> 1)]) {
      const error = await failure(await folderOf({ 'a.png': 'red', 'sub/broken.png': content }));
      expect(error).toBeInstanceOf(FileFormatError);
      expect(error.message).toContain(join('sub', 'broken.png'));
    }
    const dangling = await folderOf({ 'a.png': 'red' });
    await symlink('nowhere.png', join(dangling, 'b.png'));
    expect((await failure(dangling)).message).toContain('b.png');
  });

  it('missing folders, empty ones and empty classes, naming them', async () => {
    const missing = join(root, 'none');
    expect(await failure(missing)).toBeInstanceOf(FileFormatError);
    expect((await failure(missing)).message).toContain(missing);
    const empty = await folderOf({ 'a.txt': Buffer.from('x') });
    expect(await failure(empty)).toBeInstanceOf(DatasetError);
    expect((await failure(empty)).message).toContain(empty);
    const emptyClass = await folderOf({ 'a/a.png': 'red', 'b/a.txt': Buffer.from('x') });
    expect((await failure(emptyClass)).message).toContain(`${join(emptyClass, 'b')} holds no image`);
  });

  it('wrong options', async () => {
    const folder = await folderOf({ 'a.png': 'red' });
    const wrong = [
      {},
      { size: 0 },
      { size: [4] },
      { size: 4, channels: 2 },
      { size: 4, fit: 'crop' },
      { size: 4, background: 'whitish' },
    ];
    for (const options of [...wrong, { size: 4, colour: 'red' }])
      expect(await failure(folder, options)).toBeInstanceOf(OptionError);
    expect(await failure(7 as never)).toBeInstanceOf(OptionError);
  });
});
