import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { deflateRawSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { FileFormatError } from '../../lib/errors.js';
import { withFile } from '../../lib/files/input.js';
import { readContent } from '../../lib/files/torch/content.js';
import { readZip } from '../../lib/files/torch/zip.js';
import { goldenPath } from '../support/shared.js';
import { temporaryFolder } from '../support/temporaryFolder.js';
import { type ZipChanges, zipOf } from '../support/torchFile.js';

const temporary = temporaryFolder();
const path = join(temporary, 'archive.zip');
const text = Buffer.from('to be read, or not to be read');
const files = { 'a/first': text, 'a/second': Buffer.alloc(100_001, 'xyz'), 'a/empty': Buffer.alloc(0) };

/** Name → content of all files. */
async function unzip(bytes: Uint8Array): Promise<Record<string, Uint8Array>> {
  await writeFile(path, bytes);
  return withFile(path, async (file, { size }) => {
    const contents: Record<string, Uint8Array> = {};
    for (const entry of (await readZip(path, file, size)).values())
      contents[entry.name] = Buffer.from(await readContent(path, file, entry));
    return contents;
  });
}

test.each([true, false])('files deflated: %s', async (deflate) => {
  expect(await unzip(zipOf(files, { deflate }))).toEqual(files);
});

test.each([true, false])('a part of a file, deflated: %s', async (deflate) => {
  await writeFile(path, zipOf(files, { deflate }));
  await withFile(path, async (file, { size }) => {
    const entry = (await readZip(path, file, size)).get('a/second');
    if (!entry) return expect.unreachable();
    for (const [begin, end] of [
      [0, 7],
      [99_999, 100_001],
      [301, 77_777],
      [5, 5],
    ] as const)
      expect(Buffer.from(await readContent(path, file, entry, begin, end))).toEqual(files['a/second'].subarray(begin, end));
  });
});

test('a comment at the end, and no files at all', async () => {
  const comment = Buffer.from('PK\x05\x06 in the comment');
  const zip = zipOf(files, { end: (end) => end.writeUInt16LE(comment.length, 20) });
  expect(Object.keys(await unzip(Buffer.concat([zip, comment])))).toHaveLength(3);
  expect(await unzip(zipOf({}))).toEqual({});
});

const record = (change: (bytes: Buffer, index: number) => void): ZipChanges => ({ record: change });
const end = (change: (bytes: Buffer) => void): ZipChanges => ({ end: change });
test.each<[string, ZipChanges, RegExp]>([
  ['encryption', record((bytes) => bytes.writeUInt16LE(1, 8)), /entry 'a\/first' is encrypted/],
  ['another method', record((bytes) => bytes.writeUInt16LE(14, 10)), /'a\/first' is packed by method 14/],
  ['a stored file of another size', record((bytes) => bytes.writeUInt32LE(5, 24)), /cannot hold 5 bytes in 29/],
  [
    'a bomb',
    record((bytes) => {
      bytes.writeUInt16LE(8, 10);
      bytes.writeUInt32LE(0x7fffffff, 24);
    }),
    /cannot hold 2147483647 bytes in 29/,
  ],
  ['entries in one place', record((bytes) => bytes.writeUInt32LE(0, 42)), /entry 'a\/(second|empty)' overlaps another/],
  ['an entry behind the directory', record((bytes) => bytes.writeUInt32LE(0x7fffffff, 42)), /begins at byte 2147483647/],
  ['no local header', record((bytes) => bytes.writeUInt32LE(bytes.readUInt32LE(42) + 1, 42)), /has no header/],
  ['names given twice', record((bytes) => bytes.write('a/xxxxxx', 46)), /'a\/xxxx.*' is there twice/],
  ['a name that is too long', record((bytes, index) => index === 2 && bytes.writeUInt16LE(999, 28)), /longer than the directory/],
  ['a record that is none', record((bytes) => bytes.writeUInt32LE(1, 0)), /directory ends after 0 of 3/],
  ['a directory beyond the file', end((bytes) => bytes.writeUInt32LE(0x7fffffff, 16)), /its directory of 3 entries/],
  ['more entries than fit', end((bytes) => bytes.writeUInt16LE(0xfffe, 10)), /its directory of 65534 entries/],
  ['a part of several', end((bytes) => bytes.writeUInt16LE(1, 4)), /part of several/],
])('%s', async (_, changes, message) => {
  const names = { 'a/first': text, 'a/second': text, 'a/xempty': text };
  await expect(unzip(zipOf(names, changes))).rejects.toThrow(FileFormatError);
  await expect(unzip(zipOf(names, changes))).rejects.toThrow(message);
});

test('zip64 records anywhere', async () => {
  const locator = Buffer.alloc(20);
  locator.writeUInt32LE(0x07064b50, 0);
  const zip = zipOf(files);
  for (const position of [2n ** 64n - 1n, 2n ** 62n, 2n ** 53n, BigInt(zip.length), 0n]) {
    locator.writeBigUInt64LE(position, 8);
    const bytes = Buffer.concat([zip.subarray(0, -22), locator, zip.subarray(-22)]);
    await expect(unzip(bytes), `${position}`).rejects.toThrow(/zip64 record/);
  }
});

test.each([
  ['more than', deflateRawSync(Buffer.alloc(2000)), 1000, /unpacks to more than its 1000 bytes/],
  ['less than', deflateRawSync(Buffer.alloc(500)), 1000, /unpacks to 500 bytes, not 1000/],
  ['no', Buffer.from([0xff, 0xff, 0xff]), 1000, /cannot be unpacked/],
  ['a part of its', deflateRawSync(Buffer.alloc(1000, 'abc')).subarray(0, 5), 1000, /cannot be unpacked: unexpected end/],
])('an entry with %s content', async (_, packed, size, message) => {
  const bytes = zipOf(
    { a: packed },
    record((entry) => {
      entry.writeUInt16LE(8, 10);
      entry.writeUInt32LE(size, 24);
    }),
  );
  await expect(unzip(bytes)).rejects.toThrow(FileFormatError);
  await expect(unzip(bytes)).rejects.toThrow(message);
});

test('every truncation of an archive is found', async () => {
  const whole = zipOf({ a: text, b: text });
  for (let length = 0; length < whole.length; length++)
    await expect(unzip(whole.subarray(0, length)), `${length} bytes`).rejects.toThrow(FileFormatError);
  await writeFile(path, whole.subarray(0, -30));
  await expect(withFile(path, (file, { size }) => readZip(path, file, size))).rejects.toThrow(/no directory/);
});

test('archives of PyTorch and of Python', async () => {
  for (const name of ['forms.pt', 'deflated.pt', 'zip64.pt'])
    await withFile(goldenPath(`files/${name}`), async (file, { size }) => {
      expect([...(await readZip(name, file, size)).keys()].some((entry) => entry.endsWith('data.pkl'))).toBe(true);
    });
});
