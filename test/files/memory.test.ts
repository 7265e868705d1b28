import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { deflateRawSync, gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { readCifar10 } from '../../lib/data/cifar10.js';
import { readIdx } from '../../lib/data/idx.js';
import { DatasetError, FileFormatError } from '../../lib/errors.js';
import { readSafetensors } from '../../lib/files/safetensors.js';
import { readStateDict } from '../../lib/files/torch/stateDict.js';
import { allocationsOf } from '../support/allocations.js';
import { goldenPath } from '../support/shared.js';
import { temporaryFolder } from '../support/temporaryFolder.js';
import { pickleOf, zipOf } from '../support/torchFile.js';

const temporary = temporaryFolder();
type Reader = (path: string) => Promise<unknown>;
const safetensors: Reader = async (path) => {
  for (const tensor of (await readSafetensors(path)).tensors.values()) await tensor.float32();
};
const torch: Reader = async (path) => {
  for (const tensor of (await readStateDict(path)).values()) await tensor.float32();
};
const idx: Reader = (path) => readIdx(path);

function fileOf(name: string, bytes: Uint8Array): string {
  const path = join(temporary, name);
  writeFileSync(path, bytes);
  return path;
}

/** Bytes that a reader may ask for besides what a file gives it: its own buffers. */
const own = 160 << 10;

const header = (text: string, claimed = text.length) => {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(claimed));
  return Buffer.concat([length, Buffer.from(text), Buffer.alloc(8)]);
};
const tensor = (shape: number[], bytes: number) => header(`{"a":{"dtype":"F32","shape":[${shape}],"data_offsets":[0,${bytes}]}}`);
const archive = (elements: number, shape: number[], stored = Buffer.alloc(24)) =>
  zipOf({ 'a/data.pkl': pickleOf({ w: { shape, strides: [1], offset: 0, elements } }), 'a/data/0': stored });
/** Its directory says that the tensors' file holds so many bytes. */
const inflated = (claimed: number, packed: Buffer) =>
  zipOf(
    { 'a/data.pkl': pickleOf({ w: { shape: [6], strides: [1], offset: 0, elements: 6 } }), 'a/data/0': packed },
    {
      record(record, index) {
        if (index !== 1) return;
        record.writeUInt16LE(8, 10);
        record.writeUInt32LE(claimed, 24);
      },
    },
  );
const images = (count: number, height: number, width: number, values = 60) => {
  const bytes = Buffer.alloc(16 + values, 7);
  for (const [i, value] of [0x803, count, height, width].entries()) bytes.writeUInt32BE(value, 4 * i);
  return bytes;
};

test.each<[string, Uint8Array, Reader]>([
  ['a header of 2⁵³ bytes', header('{}', 2 ** 53), safetensors],
  ['a header of 90 MB', header('{}', 9e7), safetensors],
  ['a tensor of 2⁴⁰ elements', tensor([2 ** 20, 2 ** 20], 2 ** 42), safetensors],
  ['a tensor of 4 GB in a file of 8 bytes', tensor([2 ** 30], 2 ** 32), safetensors],
  ['a tensor of more elements than its bytes', tensor([2 ** 30], 8), safetensors],
  ['a storage of 2⁴⁰ elements', archive(2 ** 40, [6]), torch],
  ['a tensor of 2³⁰ elements of a storage of six', archive(6, [2 ** 30]), torch],
  ['a zip entry of 4 GB in 24 bytes', inflated(0xfffffff0, Buffer.alloc(24)), torch],
  ['a zip entry of 30 kB in 24 bytes, as far as deflate goes', inflated(24 * 1030, Buffer.alloc(24)), torch],
  ['a zip entry that says 24 bytes and unpacks to 64 MB', inflated(24, deflateRawSync(Buffer.alloc(1 << 26))), torch],
  [
    'a directory of a zip archive that claims 2³¹ entries',
    zipOf({ a: Buffer.alloc(8) }, { end: (end) => end.writeUInt32LE(2 ** 31, 12) }),
    torch,
  ],
  ['2³² images', images(2 ** 32 - 1, 28, 28), idx],
  ['2⁹⁶ pixels', images(2 ** 32 - 1, 2 ** 32 - 1, 2 ** 32 - 1), idx],
  ['packed images that say 60 bytes and unpack to 64 MB', gzipSync(images(3, 4, 5, 1 << 26)), idx],
  ['packed images that unpack to another magic number', gzipSync(Buffer.alloc(1 << 26)), idx],
])('%s: refused before memory for it is asked for', async (name, bytes, read) => {
  const path = fileOf('claim', bytes);
  const before = process.memoryUsage().arrayBuffers;
  const { bytes: asked, error } = await allocationsOf(() => read(path));
  expect(error, name).toSatisfy((one) => one instanceof FileFormatError || one instanceof DatasetError);
  expect(asked).toBeLessThan(own + 8 * bytes.length);
  // What zlib itself unpacks into: a megabyte or so before it is stopped.
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8 << 20);
});

test.each<[string, Reader, number]>([
  ['files/extremes.safetensors', safetensors, 8], // bytes and half floats as float32
  ['files/forms.safetensors', safetensors, 8],
  ['files/zip64.pt', torch, 8],
  ['files/wrapped.pt', torch, 8],
  ['files/forms-legacy.pt', torch, 8],
])('%s: no more is asked for than some times its size', async (name, read, factor) => {
  const { length } = readFileSync(goldenPath(name));
  const { bytes, error } = await allocationsOf(() => read(goldenPath(name)));
  expect(error).toBeUndefined();
  expect(bytes).toBeGreaterThan(0); // it is counted
  expect(bytes).toBeLessThan(own + factor * length);
});

test('large files: what is asked for grows as the file does', async () => {
  const count = 1 << 20;
  const large = {
    safetensors: [Buffer.concat([tensor([count], 4 * count).subarray(0, -8), Buffer.alloc(4 * count)]), safetensors],
    torch: [archive(count, [count], Buffer.alloc(4 * count)), torch],
    idx: [images(1024, 32, 32, count), idx],
    'packed idx': [gzipSync(images(1024, 32, 32, count)), idx],
    cifar10: [Buffer.alloc(300 * 3073, 5), () => readCifar10(temporary, { split: 'test' })],
  } as const;
  for (const [name, [bytes, read]] of Object.entries(large)) {
    const path = fileOf(name === 'cifar10' ? 'test_batch.bin' : 'large', bytes);
    const { bytes: asked, error } = await allocationsOf(() => read(path));
    expect(error, name).toBeUndefined();
    expect(asked, name).toBeLessThan(own + 3 * Math.max(bytes.length, count));
  }
});
