import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FileFormatError } from '../../lib/errors.js';
import { readSafetensors } from '../../lib/files/safetensors.js';
import { craftSafetensors } from '../support/craft.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'damaged-'));
});
afterAll(() => rm(folder, { recursive: true }));

const f32 = (begin: number, end: number, shape = [(end - begin) / 4]) => ({ dtype: 'F32', shape, data_offsets: [begin, end] });
const bytes = (length: number) => new Uint8Array(length);
const text = '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}';

test.each<[string, unknown, number, RegExp, number?]>([
  ['a header beyond the file', {}, 0, /cut short or no safetensors file: header of 9999 bytes/, 9999],
  ['an absurd header length', {}, 0, /header of \d+ bytes/, 2 ** 62],
  ['no JSON', 'hello wo', 0, /header is not valid JSON/],
  ['no UTF-8', Uint8Array.of(0x7b, 0xff, 0x7d), 0, /header is not UTF-8/],
  ['no object', '[1, 2, 3]', 0, /header must be a JSON object/],
  [
    'an unknown dtype',
    { odd: { dtype: 'F8_E4M3', shape: [4], data_offsets: [0, 4] } },
    4,
    /'odd' has an unsupported dtype 'F8_E4M3'/,
  ],
  ['a shape of another size', { odd: f32(0, 8, [3]) }, 8, /'odd' is F32 \[3\] = 12 bytes, but its range has 8/],
  ['a negative shape', { odd: f32(0, 4, [-1]) }, 4, /'odd' must have a shape of non-negative integers/],
  ['offsets that run back', { odd: f32(4, 0, [1]) }, 4, /'odd' must have data_offsets/],
  ['no offsets', { odd: { dtype: 'F32', shape: [1] } }, 4, /'odd' must have data_offsets \[begin, end\], got undefined/],
  ['an overlap', { a: f32(0, 8), odd: f32(4, 12) }, 12, /'odd' overlaps the one before it/],
  ['a gap', { a: f32(0, 4), odd: f32(8, 12) }, 12, /'odd' leaves a gap before it/],
  ['data cut short', { a: f32(0, 4), odd: f32(4, 400) }, 100, /cut short or damaged: tensor 'odd' lies at bytes 4…400 of 100/],
  ['bytes left over', { a: f32(0, 4) }, 5, /1 bytes after the last tensor/],
  [
    'misalignment',
    { a: { dtype: 'U8', shape: [3], data_offsets: [0, 3] }, odd: f32(3, 7) },
    7,
    /'odd' of 4-byte elements is misaligned/,
  ],
  ['a name given twice', `{"a":${text.slice(5, -1)},"\\u0061":${text.slice(5, -1)}}`, 4, /names 'a' twice/],
  ['metadata that is no text', { __metadata__: { step: 3 }, a: f32(0, 4) }, 4, /__metadata__ must map names to strings/],
  ['an entry that is no object', { odd: 3 }, 0, /'odd' must be described by an object, got 3/],
])('%s', async (_, header, dataBytes, message, headerLength) => {
  const path = await craftSafetensors(join(folder, 'damaged.safetensors'), header, bytes(dataBytes), headerLength);
  const read = readSafetensors(path);
  await expect(read).rejects.toThrow(FileFormatError);
  await expect(read).rejects.toThrow(message);
  await expect(read).rejects.toThrow(`'${path}'`);
});

test('a missing file, a folder, a file of 5 bytes', async () => {
  await expect(readSafetensors(join(folder, 'nowhere'))).rejects.toThrow(/cannot read '.*nowhere'/);
  await expect(readSafetensors(folder)).rejects.toThrow(/is not a file/);
  await writeFile(join(folder, 'short'), 'short');
  await expect(readSafetensors(join(folder, 'short'))).rejects.toThrow(/it has only 5 bytes/);
});

test('every truncation of a good file is found', async () => {
  const good = await readFile(await craftSafetensors(join(folder, 'good.safetensors'), text, bytes(4)));
  for (let length = 0; length < good.length; length++) {
    const path = join(folder, 'truncated.safetensors');
    await writeFile(path, good.subarray(0, length));
    await expect(readSafetensors(path), `${length} bytes`).rejects.toThrow(FileFormatError);
  }
});

test('a file changed after its header was read', async () => {
  const path = await craftSafetensors(join(folder, 'changing.safetensors'), text, bytes(4));
  const { tensors } = await readSafetensors(path);
  await truncate(path, 70);
  await truncate(path, 60);
  await expect(tensors.get('a')?.data()).rejects.toThrow(/changed while it was being read/);
});

test('an unpadded header and a name of the prototype are fine', async () => {
  const path = await craftSafetensors(
    join(folder, 'proto.safetensors'),
    `{"__proto__":${text.slice(5, -1)}}`,
    Uint8Array.of(0, 0, 128, 63),
  );
  expect(await (await readSafetensors(path)).tensors.get('__proto__')?.data()).toEqual(Float32Array.of(1));
});
