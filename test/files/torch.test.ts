import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { FileFormatError } from '../../lib/errors.js';
import { readSafetensors } from '../../lib/files/safetensors.js';
import { readStateDict } from '../../lib/files/torch/stateDict.js';
import { delayDuring, quietest } from '../support/eventLoop.js';
import { goldenPath } from '../support/shared.js';
import { temporaryFolder } from '../support/temporaryFolder.js';
import { pickleOf, zipOf } from '../support/torchFile.js';

const temporary = temporaryFolder();
const golden = (name: string) => goldenPath(`files/${name}`);

async function written(name: string, bytes: Uint8Array): Promise<string> {
  const path = join(temporary, name);
  await writeFile(path, bytes);
  return path;
}

test.each(['forms.pt', 'forms-legacy.pt', 'forms-protocol4.pt', 'deflated.pt', 'data-parallel.pt'])(
  '%s holds what PyTorch put there, bit for bit',
  async (name) => {
    const { tensors: expected } = await readSafetensors(golden('forms.safetensors'));
    const tensors = await readStateDict(golden(name));
    expect([...tensors.keys()].sort()).toEqual([...expected.keys()].sort());
    for (const [key, tensor] of tensors) {
      expect(tensor.shape, key).toEqual(expected.get(key)?.shape);
      expect(await tensor.float32(), key).toEqual(await expected.get(key)?.data());
    }
  },
);

test('the ends of the number ranges', async () => {
  const { tensors: expected } = await readSafetensors(golden('extremes.safetensors'));
  for (const [key, tensor] of await readStateDict(golden('extremes.pt')))
    expect(await tensor.float32(), key).toEqual(await expected.get(key)?.data());
});

test.each([
  ['wrapped.pt', 'a', [-2, -1.625]],
  ['old-form.pt', 'a', [-2, -1.25, -0.5, -1.625, -0.875, -0.125]],
  ['zip64.pt', 'a', [-2, -1.625, -1.25, -0.875]],
  ['module.pt', '1.weight', [0, 0.375]],
])('%s', async (name, key, values) => {
  const tensors = await readStateDict(golden(name));
  expect([...((await tensors.get(key)?.float32()) ?? [])]).toEqual(values);
});

test.each([
  ['wrapped-twice.pt', /must hold one dictionary of tensors, got several: 'model', 'ema'/],
  ['whole-module.pt', /names torch\.nn\.modules\.container\.Sequential, which is not read/],
  ['untyped.pt', /names torch\.uint16/],
])('%s is refused', async (name, message) => {
  const reading = readStateDict(golden(name));
  await expect(reading).rejects.toThrow(FileFormatError);
  await expect(reading).rejects.toThrow(message);
  await expect(reading).rejects.toThrow(golden(name));
});

test('integers are described, but are no weights', async () => {
  const tensors = await readStateDict(golden('integers.pt'));
  expect([...tensors.values()].map(({ dtype }) => dtype)).toEqual(['I64', 'I32', 'BOOL']);
  for (const tensor of tensors.values()) await expect(tensor.float32()).rejects.toThrow(/must be F64, F32, F16 or BF16/);
});

test.each<[string, string, RegExp]>([
  ['a program', "cposix\nsystem\n(S'true'\ntR.", /names posix\.system/],
  ['a program of protocol 4', '\x80\x04\x8c\x05posix\x8c\x06system\x93.', /names posix\.system/],
  ['getattr', 'cbuiltins\ngetattr\n.', /names builtins\.getattr/],
  ['a class that is imported otherwise', '(iposix\nsystem\n.', /instruction 0x69 at byte 1/],
  ['an extension', '\x82\x01.', /instruction 0x82/],
  ['a string of Python', "S'a'\n.", /instruction 0x53/],
  ['no end', ']]', /ends with|cut short/],
  ['an empty stack', '0.', /empty stack/],
  ['two values', 'NN.', /ends with 2 values/],
  ['a long that is too long', `\x8a\xff${'\x01'.repeat(255)}.`, /integer of 255 bytes/],
  ['a length beyond the end', '\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.', /cut short/],
  ['a memo that is empty', 'h\x05.', /memo at 5/],
  ['what is no storage', '(X\x05\x00\x00\x00thingK\x01tQ.', /refers to \['thing', 1\], which is no storage/],
  ['a list in place of a dictionary', '].', /must hold a dictionary of tensors/],
  ['a list that holds itself', ']q\x00h\x00a.', /must hold a dictionary/],
  ['a key that holds itself', '}]q\x00h\x00aNs.', /none among its entries \[\[\[\[…\]\]\]\]/],
  ['a call of a dictionary', '}(K\x01tR.', /calls a Map with/],
])('pickles: %s', async (_, pickle, message) => {
  const path = await written('pickle.pt', zipOf({ 'a/data.pkl': Buffer.from(pickle, 'latin1') }));
  await expect(readStateDict(path)).rejects.toThrow(message);
  await expect(readStateDict(path)).rejects.toThrow(FileFormatError);
});

const good = { shape: [2, 3], strides: [3, 1], offset: 0, elements: 6 };
test.each([
  ['beyond its storage', { ...good, offset: 1 }, /^'[^']+': its pickle has a tensor of shape \[2, 3\].* beyond its storage$/],
  ['with strides beyond it', { ...good, strides: [4, 1] }, /beyond its storage/],
  ['of a negative size', { ...good, shape: [-1, 3] }, /tensor of shape \[-1, 3\]/],
  ['with a negative offset', { ...good, offset: -1 }, /offset -1/],
  ['of two ranks', { ...good, strides: [1] }, /strides \[1\]/],
  ['that repeats one element without end', { ...good, shape: [1e15, 1e15], strides: [0, 0] }, /beyond its storage/],
  ['whose storage is larger than its file', { ...good, elements: 7 }, /storage '0' must have 28 bytes, got 24/],
])('a tensor %s', async (_, tensor, message) => {
  const files = { 'a/data.pkl': pickleOf({ w: tensor }), 'a/data/0': Buffer.alloc(24) };
  const path = await written('tensor.pt', zipOf(files));
  await expect(readStateDict(path)).rejects.toThrow(message);
  await writeFile(path, zipOf({ ...files, 'a/data.pkl': pickleOf({ w: good }) }));
  expect(await (await readStateDict(path)).get('w')?.float32()).toEqual(new Float32Array(6));
});

test.each<[string, Uint8Array | Promise<Uint8Array>, RegExp]>([
  ['no bytes', new Uint8Array(0), /is no PyTorch file/],
  ['text', Buffer.from('hello world'), /is no PyTorch file/],
  ['a zip without a pickle', zipOf({ 'a/b': Buffer.alloc(1) }), /0 entries data\.pkl/],
  ['two pickles', zipOf({ 'a/data.pkl': pickleOf({}), 'b/data.pkl': pickleOf({}) }), /2 entries data\.pkl/],
  [
    'big-endian',
    zipOf({ 'a/data.pkl': pickleOf({}), 'a/byteorder': Buffer.from('big') }),
    /byte order must be 'little', got 'big'/,
  ],
  ['a program of TorchScript', zipOf({ 'a/data.pkl': pickleOf({}), 'a/constants.pkl': pickleOf({}) }), /TorchScript/],
  ['another pickle', Buffer.from('\x80\x02N.', 'latin1'), /magic number is wrong/],
  ['a legacy file cut short', readFile(golden('forms-legacy.pt')).then((bytes) => bytes.subarray(0, -4)), /cut short or damaged/],
])('%s', async (_, bytes, message) => {
  await expect(readStateDict(await written('odd.pt', await bytes))).rejects.toThrow(message);
});

test('the event loop turns while a long pickle and a transposed tensor are read', async () => {
  const [rows, columns] = [1111, 1777];
  const many = Object.fromEntries(Array.from({ length: 4000 }, (_, i) => [`tensor${i}`, good]));
  const large = { shape: [columns, rows], strides: [1, columns], offset: 0, elements: rows * columns, key: '1' };
  const storage = new Float32Array(rows * columns).map((_, i) => i);
  const files = { 'a/data.pkl': pickleOf({ ...many, large }), 'a/data/0': Buffer.alloc(24), 'a/data/1': storage };
  const path = await written('large.pt', zipOf(files));
  const delay = await quietest(3, () =>
    delayDuring(async () => {
      const values = await (await readStateDict(path)).get('large')?.float32();
      expect(values?.[rows + 1]).toBe(columns + 1);
    }),
  );
  expect(delay).toBeLessThan(10);
});
