import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { ImageDataset } from '../../lib/data/dataset.js';
import { DatasetError, DTypeError, OptionError, ShapeError } from '../../lib/errors.js';

const pixels = Uint8Array.from({ length: 3 * 2 * 5 * 1 }, (_, i) => i * 7);
const labelled = () => ImageDataset.tensor(pixels, [3, 2, 5, 1], { labels: [2, 0, 1] });

describe('ImageDataset.tensor', () => {
  it('describes the images', () => {
    const data = labelled();
    expect(data).toMatchObject({
      length: 3,
      height: 2,
      width: 5,
      channels: 1,
      shape: [2, 5, 1],
      numClasses: 3,
      classNames: null,
    });
    expect(data.images).toBe(pixels);
    expect(data.labels).toEqual(Int32Array.of(2, 0, 1));
    expect(ImageDataset.tensor(pixels, [3, 2, 5, 1])).toMatchObject({ labels: null, numClasses: 0 });
    const named = ImageDataset.tensor(pixels, [3, 2, 5, 1], { labels: Int32Array.of(0, 1, 0), classNames: ['a', 'b', 'c'] });
    expect(named).toMatchObject({ numClasses: 3, classNames: ['a', 'b', 'c'] });
  });

  it('refuses what does not fit', () => {
    expect(() => ImageDataset.tensor(pixels, [3, 2, 5, 3])).toThrow(ShapeError);
    expect(() => ImageDataset.tensor(pixels, [3, 2, 5, 3])).toThrow(/needs 90 values, data has 30/);
    expect(() => ImageDataset.tensor(pixels, [3, 10, 1] as never)).toThrow(ShapeError);
    expect(() => ImageDataset.tensor(new Uint8Array(0), [0, 2, 5, 1])).toThrow(ShapeError);
    expect(() => ImageDataset.tensor(new Float32Array(30) as never, [3, 2, 5, 1])).toThrow(DTypeError);
    const tensor = (options: object) => () => ImageDataset.tensor(pixels, [3, 2, 5, 1], options);
    expect(tensor({ labels: [0, 1] })).toThrow(DatasetError);
    expect(tensor({ labels: [0, -1, 0] })).toThrow(/labels\[1\] is -1/);
    expect(tensor({ labels: [0, 1, 2], classNames: ['a', 'b'] })).toThrow(/labels\[2\] is 2, expected 0 to 1/);
    expect(tensor({ labels: [0, 1.5, 0] })).toThrow(OptionError);
    expect(tensor({ labels: 'abc' })).toThrow(OptionError);
    expect(tensor({ classNames: ['a'] })).toThrow(OptionError);
    expect(tensor({ label: [0, 1, 2] })).toThrow(/unknown option 'label'/);
  });
});

describe('ImageDataset.gather', () => {
  it('copies images and labels', () => {
    const out = new Uint8Array(4 * 10);
    const outLabels = new Int32Array(4);
    labelled().gather(Int32Array.of(2, 0, 0, 1), out, outLabels);
    const image = (index: number) => [...pixels.subarray(index * 10, index * 10 + 10)];
    expect([...out]).toEqual([2, 0, 0, 1].flatMap(image));
    expect([...outLabels]).toEqual([1, 2, 2, 0]);
  });

  it('refuses wrong lengths and indices', () => {
    const data = labelled();
    expect(() => data.gather(Int32Array.of(0, 1), new Uint8Array(10))).toThrow(ShapeError);
    expect(() => data.gather(Int32Array.of(0), new Uint8Array(10), new Int32Array(2))).toThrow(ShapeError);
    expect(() => data.gather(Int32Array.of(3), new Uint8Array(10))).toThrow(/indices\[0\] is 3/);
    expect(() => data.gather(Int32Array.of(-1), new Uint8Array(10))).toThrow(DatasetError);
    const unlabelled = ImageDataset.tensor(pixels, [3, 2, 5, 1]);
    expect(() => unlabelled.gather(Int32Array.of(0), new Uint8Array(10), new Int32Array(1))).toThrow(DatasetError);
  });
});

describe('ImageDataset.fingerprint', () => {
  it('is SHA-256 over description, values and labels', async () => {
    const expected = createHash('sha256')
      .update('{"shape":[3,2,5,1],"labelled":true}')
      .update(pixels)
      .update(Buffer.from([2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]))
      .digest('hex');
    expect(await labelled().fingerprint()).toBe(expected);
  });

  it('tells sets apart by values, shape and labels', async () => {
    const changed = pixels.slice();
    changed[29] = 1;
    const sets = [
      labelled(),
      ImageDataset.tensor(pixels, [3, 2, 5, 1]),
      ImageDataset.tensor(pixels, [3, 5, 2, 1], { labels: [2, 0, 1] }),
      ImageDataset.tensor(pixels, [3, 2, 5, 1], { labels: [2, 1, 0] }),
      ImageDataset.tensor(changed, [3, 2, 5, 1], { labels: [2, 0, 1] }),
    ];
    const prints = await Promise.all(sets.map((set) => set.fingerprint()));
    expect(new Set(prints).size).toBe(sets.length);
  });

  it('leaves the event loop free', async () => {
    const big = ImageDataset.tensor(new Uint8Array(64 * 2 ** 20), [1024, 256, 256, 1]);
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    await big.fingerprint();
    clearInterval(timer);
    expect(turns).toBeGreaterThan(5);
  });
});
