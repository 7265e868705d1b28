import { Readable } from 'node:stream';
import { setTimeout as wait } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { DatasetError, ImageDataset, OptionError } from '../../lib/index.js';
import { Batches } from '../../lib/training/batches.js';

const size = [2, 3, 1] as const;
const image = (value: number) => new Uint8Array(6).fill(value);
const item = (value: number) => ({ image: image(value), label: value % 3 });

/** The first values of the batches of some steps, and their labels. */
async function take(data: ImageDataset, steps: readonly number[], { batchSize = 4, labelled = true } = {}) {
  const batches = new Batches(data, batchSize, { seed: 11, labelled, numClasses: 3 });
  const taken: [values: number[], labels: number[] | null][] = [];
  for (const step of steps) {
    const { images, labels } = await batches.of(step);
    expect(images.length).toBe(batchSize * 6);
    taken.push([Array.from({ length: batchSize }, (_, i) => images[6 * i + 5] as number), labels && [...labels]]);
  }
  await batches.close();
  return taken;
}

const values = async (data: ImageDataset, steps: readonly number[], options = {}) =>
  (await take(data, steps, options)).flatMap(([images]) => images);
const upTo = (count: number) => Array.from({ length: count }, (_, i) => i);

async function* asynchronous(count: number, first = 0) {
  for (let i = first; i < first + count; i++) {
    if (i % 3 === 0) await wait(1);
    yield item(i);
  }
}

describe('ImageDataset.from', () => {
  it('takes the images as they come, epoch after epoch', async () => {
    const passes: object[] = [];
    const source = (pass: { epoch: number; seed: number }) => {
      passes.push({ ...pass });
      return asynchronous(5, 10 * pass.epoch);
    };
    const data = ImageDataset.from(source, { size });
    expect(data).toMatchObject({ length: Infinity, shape: [2, 3, 1], labels: null, streamed: true, numClasses: 0 });
    const expected = [0, 1, 2, 3, 4, 10, 11, 12, 13, 14, 20, 21];
    const taken = await take(data, [0, 1, 2]);
    expect(taken.flatMap(([images]) => images)).toEqual(expected);
    expect(taken.flatMap(([, labels]) => labels)).toEqual(expected.map((value) => value % 3));
    expect(passes.slice(0, 3)).toEqual([0, 1, 2].map((epoch) => ({ epoch, seed: 11 })));
  });

  it.each<[string, () => ConstructorParameters<typeof Array>[0]]>([
    ['an array', () => upTo(5).map(item)],
    ['a set of bare arrays', () => new Set(upTo(5).map(image))],
    ['clamped arrays', () => upTo(5).map((i) => new Uint8ClampedArray(image(i)))],
    ['an array of promises', () => upTo(5).map(async (i) => item(i))],
    ['a function of a generator', () => () => upTo(5).map(item).values()],
    ['a function of a promise', () => async () => upTo(5).map(item)],
    ['a function of a stream', () => () => Readable.from(upTo(5).map(item))],
    ['an async iterable', () => ({ [Symbol.asyncIterator]: () => asynchronous(5) })],
  ])('takes %s', async (_, make) => {
    const data = ImageDataset.from(make() as never, { size });
    expect(await values(data, [0, 1, 2], { labelled: false })).toEqual([0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]);
  });

  it('goes once through a generator, which may end with the last image needed', async () => {
    expect(await values(ImageDataset.from(asynchronous(8), { size }), [0, 1])).toEqual(upTo(8));
    const short = take(ImageDataset.from(asynchronous(7), { size }), [0, 1]);
    await expect(short).rejects.toThrow(DatasetError);
    await expect(short).rejects.toThrow(/needs more images .* give a function/);
  });

  it('gives the same whatever is asked for ahead', async () => {
    const make = (prefetch: number) => ImageDataset.from(({ epoch }) => asynchronous(7, epoch), { size, prefetch });
    const expected = await take(make(0), [0, 1, 2, 3, 4]);
    for (const prefetch of [1, 2, 7]) expect(await take(make(prefetch), [0, 1, 2, 3, 4])).toEqual(expected);
  });

  it.each([undefined, 7])('begins where a run stopped; length %o', async (length) => {
    let asked = 0;
    const make = () => {
      const options = length === undefined ? { size } : { size, length };
      return ImageDataset.from(
        async function* ({ epoch }) {
          for await (const one of asynchronous(7, 10 * epoch)) {
            asked++;
            yield one;
          }
        },
        { ...options, prefetch: 0 },
      );
    };
    const whole = await take(make(), upTo(12));
    asked = 0;
    expect(await take(make(), [11])).toEqual(whole.slice(11));
    expect(asked).toBe(length ? 2 + 4 : 48);
    expect(await take(make(), [5, 6, 2, 3])).toEqual([5, 6, 2, 3].map((step) => whole[step]));
  });

  it('copies the images, which may lie in one array that is used again', async () => {
    const shared = image(0);
    const source = function* () {
      for (let i = 0; i < 8; i++) yield shared.fill(i);
    };
    expect(await values(ImageDataset.from(source, { size }), [0, 1], { labelled: false })).toEqual(upTo(8));
  });

  it('is asked only as far ahead as it says', async () => {
    let asked = 0;
    const source = function* () {
      for (;;) yield item(asked++ % 100);
    };
    const batches = new Batches(ImageDataset.from(source, { size, prefetch: 3 }), 4, { seed: 0, labelled: false });
    expect(asked).toBe(0);
    await batches.of(0);
    await wait(30);
    expect(asked).toBe(4 + 3 * 4);
    await batches.of(1);
    await wait(30);
    expect(asked).toBe(8 + 3 * 4);
  });

  it('has no images in memory, and a fingerprint of its options', async () => {
    const make = (options = {}) => ImageDataset.from([item(1)], { size, ...options });
    expect(() => make().images).toThrow(DatasetError);
    expect(make({ classNames: ['a', 'b'], length: 1 })).toMatchObject({ classNames: ['a', 'b'], numClasses: 2, length: 1 });
    const prints = await Promise.all([make(), make({ length: 1 }), make({ numClasses: 4 })].map((data) => data.fingerprint()));
    expect(new Set(prints).size).toBe(3);
    expect(await make({ prefetch: 5 }).fingerprint()).toBe(prints[0]);
  });
});

describe('ImageDataset.from reports', () => {
  const failure = (source: unknown, options = {}, labelled = true) =>
    take(ImageDataset.from(source as never, { size, prefetch: 0, ...options }), [0, 1, 2], { labelled }).then(
      () => new Error('nothing was thrown'),
      (error: Error) => error,
    );

  it.each<[string, unknown, RegExp, object?]>([
    ['a short image', [item(0), { image: new Uint8Array(5), label: 0 }], /image 1 of epoch 0 has 5 values, 2×3×1 needs 6/],
    ['another array', [{ image: new Float32Array(6), label: 0 }], /image 0 of epoch 0 must be a Uint8Array .* got an object/],
    ['no image', [item(0), item(0), null], /image 2 of epoch 0 must be .* got null/],
    ['a missing label', [item(0), image(1)], /image 1 of epoch 0 has no label/],
    ['a label beyond the model', [{ image: image(0), label: 3 }], /has label 3, expected an integer from 0 to 2/],
    ['a label beyond the classes', [{ image: image(0), label: 2 }], /expected an integer from 0 to 1/, { numClasses: 2 }],
    ['half a label', [{ image: image(0), label: 0.5 }], /has label 0.5/],
    ['no images', [], /epoch 0 has no images/],
    [
      'a generator that is given twice',
      (
        (one) => () =>
          one
      )(asynchronous(2)),
      /epoch 1 has no images/,
    ],
    ['too few images', upTo(5).map(item), /epoch 0 has 5 images, option 'length' says 6/, { length: 6 }],
    ['too many images', upTo(5).map(item), /epoch 0 has more than 4 images/, { length: 4 }],
    ['a function of nothing', () => undefined, /the function must give an iterable, got undefined/],
  ])('%s', async (_, source, message, options) => {
    const error = await failure(source, options);
    expect(error).toBeInstanceOf(DatasetError);
    expect(error.message).toMatch(message);
  });

  it('what the iterable throws, with its cause', async () => {
    const cause = new Error('disk on fire');
    const source = async function* () {
      yield* asynchronous(3);
      throw cause;
    };
    const error = await failure(source);
    expect(error).toBeInstanceOf(DatasetError);
    expect(error).toMatchObject({ cause, code: 'ERR_DATASET' });
    expect(error.message).toBe('ImageDataset.from: the iterable failed after 3 images of epoch 0: disk on fire');
    const thrown = () => {
      throw cause;
    };
    expect(await failure(thrown)).toMatchObject({ cause });
  });

  it.each<[unknown, object, string]>([
    [7, { size }, 'the first argument must be an iterable or a function that gives one, got 7'],
    ['abc', { size }, 'the first argument'],
    [[], {}, "option 'size' is required"],
    [[], { size: 32 }, "option 'size' must be [height, width, channels], got 32"],
    [[], { size: [2, 3] }, "option 'size"],
    [[], { size, length: 0 }, "option 'length'"],
    [[], { size, classNames: ['a'], numClasses: 2 }, "option 'numClasses' is 2, but there are 1 'classNames'"],
    [[], { size, prefetch: -1 }, "option 'prefetch'"],
    [[], { size, shuffle: 5 }, "unknown option 'shuffle'"],
  ])('wrong arguments: %j, %j', (source, options, message) => {
    const make = () => ImageDataset.from(source as never, options as never);
    expect(make).toThrow(OptionError);
    expect(make).toThrow(message);
  });
});
