import sharp from 'sharp';
import { beforeAll, expect, test } from 'vitest';
import type { Device } from '../../lib/device.js';
import {
  DatasetError,
  type EvaluateBitsOptions,
  evaluateBits,
  GaussianDiffusion,
  ImageDataset,
  NoiseSchedule,
  OptionError,
  ShapeError,
  type UNet,
} from '../../lib/index.js';
import { Batches } from '../../lib/training/batches.js';
import { eachDevice, openForBf16 } from '../support/devices.js';
import { imageFolders } from '../support/imageFolder.js';
import { tinyData, tinyModel } from '../train/tiny.js';

const folderOf = imageFolders();
const T = 6;
/** A process that learns its variance, and a network for it; both of one seed. */
const parts = (device: Device, options: object = {}): Pick<EvaluateBitsOptions, 'model' | 'diffusion'> => ({
  model: tinyModel(device, { outChannels: 6, zeroInit: false, dropout: 0.5, ...options }),
  diffusion: new GaussianDiffusion(device, NoiseSchedule.cosine({ timesteps: T }), { variance: 'learnedRange' }),
});

/** Seven pictures as PNG files in two class folders, and the same in memory, in the order of their names. */
let folder: string;
let pictures: ImageDataset;
beforeAll(async () => {
  const { images } = tinyData();
  const picture = (n: number) => images.subarray(n * 192, (n + 1) * 192);
  const files = Array.from({ length: 7 }, async (_, n) => {
    const png = sharp(picture(n), { raw: { width: 8, height: 8, channels: 3 } }).png();
    return [`${n < 4 ? 'a' : 'b'}/${n}.png`, await png.toBuffer()] as const;
  });
  folder = await folderOf(Object.fromEntries(await Promise.all(files)));
  pictures = ImageDataset.tensor(images, [7, 8, 8, 3], { labels: [0, 0, 0, 0, 1, 1, 1] });
});

eachDevice((id, open) => {
  test(`on ${id} it is the mean of GaussianDiffusion.bitsPerDimension over the images that the seed chooses`, async () => {
    const { model, diffusion } = parts(await open());
    const [count, seed] = [5, 3];
    const steps: [number, number][] = [];
    const onProgress = (done: number, total: number) => void steps.push([done, total]);
    const found = await evaluateBits({ model, diffusion, data: pictures, count, batchSize: 2, seed, onProgress });
    expect(steps).toEqual(Array.from({ length: 3 * T }, (_, k) => [k + 1, 3 * T]));
    const { images } = await new Batches(pictures, count, { seed, labelled: false }).of(0);
    using x0 = model.device.tensor(images, [count, 8, 8, 3]);
    const { totalBpd, priorBpd, vb } = await diffusion.bitsPerDimension(model as UNet, x0, { seed });
    const mean = (values: ArrayLike<number>) => Array.from(values).reduce((sum, value) => sum + value, 0) / count;
    const close = (a: number, b: number) => expect(Math.abs(a / b - 1)).toBeLessThan(id === 'cpu' ? 1e-6 : 1e-4);
    expect(found.images).toBe(count);
    close(found.bitsPerDimension, mean(totalBpd));
    close(found.prior, mean(priorBpd));
    close(found.decoder, mean(vb.map((terms) => terms.at(-1) as number)));
    const squares = Array.from(totalBpd, (value) => (value - mean(totalBpd)) ** 2);
    close(found.standardError, Math.sqrt((mean(squares) * count) / (count - 1) / count));
  });

  test(`on ${id} a folder of images gives what the same images in memory do`, async () => {
    const device = await open();
    const data = await ImageDataset.folder(folder, { size: 8, cacheBytes: 0 });
    expect(data.streamed).toBe(true);
    for (const options of [{}, { numClasses: 2 }]) {
      const given = { ...parts(device, options), count: 6, batchSize: 4, seed: 1 };
      expect(await evaluateBits({ ...given, data })).toEqual(await evaluateBits({ ...given, data: pictures }));
    }
    const labelled = { ...parts(device, { numClasses: 2 }), count: 6 };
    const plain = await ImageDataset.folder(folder, { size: 8, labels: false });
    await expect(evaluateBits({ ...labelled, data: plain })).rejects.toThrow(DatasetError);
  });

  test(`on ${id} a network that computes in bf16 gives nearly the same`, async (context) => {
    const device = await openForBf16(open, context);
    const data = await ImageDataset.folder(folder, { size: 8, cacheBytes: 0 });
    const [plain, rounded] = [parts(device), parts(device, { dtype: 'bf16' })];
    const [exact, found] = await Promise.all([plain, rounded].map((given) => evaluateBits({ ...given, data, seed: 2 })));
    if (!exact || !found) throw new Error('two evaluations');
    // The terms are mostly squares of what the network is off by, which it puts out with a relative error of some 2^-8.
    expect(Math.abs(found.bitsPerDimension / exact.bitsPerDimension - 1)).toBeLessThan(2 * 2 ** -8);
    expect(found.bitsPerDimension).not.toBe(exact.bitsPerDimension);
    expect(found.prior).toBe(exact.prior);
    expect(await evaluateBits({ ...rounded, data, seed: 2 })).toEqual(found);
  });

  test(`on ${id} wrong arguments are refused, an abort ends it, memory is as before`, async () => {
    const device = await open();
    const given = { ...parts(device), data: pictures };
    await expect(evaluateBits({ ...given, count: 0 })).rejects.toThrow(OptionError);
    await expect(evaluateBits({ ...given, onProgress: 3 as never })).rejects.toThrow(OptionError);
    await expect(evaluateBits({ ...given, model: tinyModel(device) })).rejects.toThrow(ShapeError);
    expect((await evaluateBits(given)).images).toBe(7);
    await device.synchronize();
    const before = device.memory().usedBytes;
    const controller = new AbortController();
    const onProgress = (done: number) => done === T + 2 && controller.abort();
    await expect(
      evaluateBits({ ...given, batchSize: 3, signal: controller.signal, onProgress: (done) => void onProgress(done) }),
    ).rejects.toThrow(/abort/i);
    await device.synchronize();
    expect(device.memory().usedBytes).toBe(before);
  });
});
