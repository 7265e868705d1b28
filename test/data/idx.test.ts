import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { ImageDataset } from '../../lib/data/dataset.js';
import { DatasetError, FileFormatError, OptionError } from '../../lib/errors.js';
import { temporaryFolder } from '../support/temporaryFolder.js';

const folder = temporaryFolder();
let files = 0;
async function write(bytes: Uint8Array): Promise<string> {
  const path = join(folder, `${files++}.idx`);
  await writeFile(path, bytes);
  return path;
}

function idx(magic: number, extents: number[], values: ArrayLike<number>): Buffer {
  const header = Buffer.alloc(4 + 4 * extents.length);
  header.writeUInt32BE(magic, 0);
  for (const [axis, extent] of extents.entries()) header.writeUInt32BE(extent, 4 + 4 * axis);
  return Buffer.concat([header, Uint8Array.from(values)]);
}

const values = Array.from({ length: 2 * 3 * 5 }, (_, i) => 100 + i);
const images = idx(0x803, [2, 3, 5], values);
const labels = idx(0x801, [2], [4, 1]);

describe('ImageDataset.idx', () => {
  it.each(['plain', 'gzip'])('reads images and labels, %s', async (kind) => {
    const pack = (bytes: Buffer) => (kind === 'gzip' ? gzipSync(bytes) : bytes);
    const data = await ImageDataset.idx(await write(pack(images)), await write(pack(labels)));
    expect(data).toMatchObject({ length: 2, shape: [3, 5, 1], numClasses: 5, classNames: null });
    expect([...data.images]).toEqual(values);
    expect([...(data.labels ?? [])]).toEqual([4, 1]);
  });

  it('reads images alone', async () => {
    const data = await ImageDataset.idx(await write(images));
    expect(data).toMatchObject({ length: 2, labels: null, numClasses: 0 });
  });

  it('centres smaller images on zeros', async () => {
    const data = await ImageDataset.idx(await write(images), undefined, { size: [6, 8] });
    expect(data.shape).toEqual([6, 8, 1]);
    const expected = new Uint8Array(2 * 6 * 8);
    values.forEach((value, i) => {
      const [n, y, x] = [Math.floor(i / 15), Math.floor((i % 15) / 5), i % 5];
      expected[(n * 6 + y + 1) * 8 + x + 1] = value;
    });
    expect(data.images).toEqual(expected);
  });

  it('resamples larger images', async () => {
    const flat = idx(
      0x803,
      [2, 8, 8],
      new Array(128).fill(0).map((_, i) => (i < 64 ? 40 : 200)),
    );
    const data = await ImageDataset.idx(await write(flat), undefined, { size: 4 });
    expect([...data.images]).toEqual([...new Array(16).fill(40), ...new Array(16).fill(200)]);
  });

  it.each([
    [[5, 7], [3, 9], 4],
    [[28, 28], [14, 14], 7],
    [[150, 120], [40, 31], 2],
  ])('resamples %j to %j each of its images as if alone', async ([rows = 0, columns = 0], [height = 0, width = 0], count) => {
    const size = rows * columns;
    const noise = Uint8Array.from({ length: count * size }, (_, i) => Math.imul(i + 1, 0x9e3779b1) >>> 24);
    const told: unknown[] = [];
    const onProgress = (...arguments_: unknown[]) => void told.push(arguments_);
    const path = await write(idx(0x803, [count, rows, columns], noise));
    const data = await ImageDataset.idx(path, undefined, { size: [height, width], onProgress });
    for (let image = 0; image < count; image++) {
      const alone = sharp(noise.subarray(image * size, (image + 1) * size), {
        raw: { width: columns, height: rows, channels: 1 },
      });
      const expected = await alone.resize(width, height, { fit: 'fill' }).toColourspace('b-w').raw().toBuffer();
      expect([...data.images.subarray(image * height * width, (image + 1) * height * width)]).toEqual([...expected]);
    }
    expect(told).toEqual(Array.from({ length: count }, (_, i) => [i + 1, count]));
  });

  it.each([
    ['wrong magic', idx(0x804, [2, 3, 5], values), FileFormatError, /starts with 0x00000804, expected 0x00000803/],
    ['labels as images', labels, FileFormatError, /0x00000801/],
    ['an empty file', Buffer.alloc(0), FileFormatError, /header/],
    ['a cut header', images.subarray(0, 10), FileFormatError, /header/],
    ['cut values', images.subarray(0, -1), FileFormatError, /truncated/],
    ['trailing bytes', Buffer.concat([images, Buffer.alloc(1)]), FileFormatError, /trailing/],
    ['cut gzip', gzipSync(images).subarray(0, -9), FileFormatError, /decompress/],
    ['no images', idx(0x803, [0, 3, 5], []), DatasetError, /no images/],
  ])('refuses %s, naming the file', async (_, bytes, kind, message) => {
    const path = await write(bytes);
    const failure = await ImageDataset.idx(path).catch((error) => error);
    expect(failure).toBeInstanceOf(kind);
    expect(failure.message).toMatch(message);
    expect(failure.message).toContain(path);
  });

  it('refuses labels that do not belong to the images', async () => {
    const path = await write(images);
    const short = await write(idx(0x801, [1], [4]));
    await expect(ImageDataset.idx(path, short)).rejects.toThrow(DatasetError);
    await expect(ImageDataset.idx(path, short)).rejects.toThrow(/1 labels.*2 images/);
    await expect(ImageDataset.idx(path, path)).rejects.toThrow(/expected 0x00000801/);
  });

  it('refuses missing files and wrong options', async () => {
    const path = await write(images);
    await expect(ImageDataset.idx(join(folder, 'none'))).rejects.toThrow(FileFormatError);
    await expect(ImageDataset.idx(path, join(folder, 'none'))).rejects.toThrow(/none/);
    await expect(ImageDataset.idx(path, { size: 32 } as never)).rejects.toThrow(OptionError);
    await expect(ImageDataset.idx(path, undefined, { size: 0 })).rejects.toThrow(/option 'size'.*at least 1|between 1/);
    await expect(ImageDataset.idx(path, undefined, { sise: 8 } as never)).rejects.toThrow(/unknown option 'sise'/);
  });

  it('stops on a signal', async () => {
    const path = await write(images);
    await expect(ImageDataset.idx(path, undefined, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      name: 'AbortError',
    });
  });

  const mnist = join(__dirname, '../../../shared/data/mnist-idx');
  it.skipIf(!existsSync(mnist))('reads MNIST and pads it to 32×32', async () => {
    const paths = ['t10k-images-idx3-ubyte.gz', 't10k-labels-idx1-ubyte.gz'].map((name) => join(mnist, name)) as [string, string];
    const data = await ImageDataset.idx(...paths, { size: 32 });
    expect(data).toMatchObject({ length: 10_000, shape: [32, 32, 1], numClasses: 10 });
    expect([...(data.labels ?? []).slice(0, 5)]).toEqual([7, 2, 1, 0, 4]);
    const stored = await ImageDataset.idx(paths[0]);
    const sum = (bytes: Uint8Array) => bytes.reduce((total, value) => total + value, 0);
    expect(sum(data.images)).toBe(sum(stored.images));
  });
});
