import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { ImageDataset } from '../../lib/data/dataset.js';
import { FileFormatError, OptionError } from '../../lib/errors.js';
import { temporaryFolder } from '../support/temporaryFolder.js';

const folder = join(temporaryFolder(), 'cifar-10-batches-bin');

/** A record whose planes tell channel and place: red i, green i + 1, blue i + 2 (mod 256), plus `shift`. */
function record(label: number, shift: number): Uint8Array {
  const planes = Array.from({ length: 3072 }, (_, i) => ((i % 1024) + Math.floor(i / 1024) + shift) & 255);
  return Uint8Array.of(label, ...planes);
}

describe('ImageDataset.cifar10', () => {
  beforeEach(async () => {
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder);
    for (let batch = 1; batch <= 5; batch++) {
      await writeFile(join(folder, `data_batch_${batch}.bin`), Buffer.concat([record(batch, batch), record(9, 0)]));
    }
    await writeFile(join(folder, 'test_batch.bin'), record(3, 50));
  });

  it('reads the training batches in order, channels last', async () => {
    const data = await ImageDataset.cifar10(folder);
    expect(data).toMatchObject({ length: 10, shape: [32, 32, 3], numClasses: 10 });
    expect([...(data.labels ?? [])]).toEqual([1, 9, 2, 9, 3, 9, 4, 9, 5, 9]);
    expect(data.classNames?.[9]).toBe('truck');
    const third = data.images.subarray(2 * 3072, 3 * 3072);
    expect([...third.subarray(0, 6)]).toEqual([2, 3, 4, 3, 4, 5]);
    expect([...third.subarray(-3)]).toEqual([1, 2, 3]);
  });

  it('reads the test batch', async () => {
    const data = await ImageDataset.cifar10(folder, { split: 'test' });
    expect(data.length).toBe(1);
    expect([...data.images.subarray(0, 3)]).toEqual([50, 51, 52]);
  });

  it('refuses missing, cut and corrupt batches, naming the file', async () => {
    await writeFile(join(folder, 'test_batch.bin'), record(3, 50).subarray(1));
    await expect(ImageDataset.cifar10(folder, { split: 'test' })).rejects.toThrow(FileFormatError);
    await expect(ImageDataset.cifar10(folder, { split: 'test' })).rejects.toThrow(/test_batch\.bin.*3072/);
    await writeFile(join(folder, 'data_batch_4.bin'), record(10, 0));
    await expect(ImageDataset.cifar10(folder)).rejects.toThrow(/data_batch_4\.bin has label 10/);
    await rm(join(folder, 'data_batch_2.bin'));
    await expect(ImageDataset.cifar10(folder)).rejects.toThrow(FileFormatError);
    await expect(ImageDataset.cifar10(folder, { split: 'all' } as never)).rejects.toThrow(OptionError);
  });
});
