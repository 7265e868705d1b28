import { mkdir, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FileFormatError, OptionError } from '../../lib/errors.js';
import { readSafetensors, type SafetensorsEntry, writeSafetensors } from '../../lib/files/safetensors.js';
import { craftSafetensors } from '../support/craft.js';
import { goldenPath } from '../support/shared.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'safetensors-'));
  await mkdir(join(folder, 'occupied'));
});
afterAll(() => rm(folder, { recursive: true }));

describe('writing', () => {
  test('gives the bytes of the reference writer', async () => {
    for (const name of [
      'unet/d1_cifar_style/diffusion_pytorch_model.safetensors',
      'optim/model_init/diffusion_pytorch_model.safetensors',
    ]) {
      const { metadata, tensors } = await readSafetensors(goldenPath(name));
      expect(metadata).toEqual({ format: 'pt' });
      const path = join(folder, 'copy.safetensors');
      const shuffled = [...tensors.values()].reverse();
      await writeSafetensors(
        path,
        shuffled.map(({ name, shape, float32 }) => ({ name, shape, data: float32 })),
      );
      expect((await readFile(path)).equals(await readFile(goldenPath(name)))).toBe(true);
    }
  });

  test('keeps every kind, odd sizes, scalars and empty tensors', async () => {
    const path = join(folder, 'kinds.safetensors');
    const entries: SafetensorsEntry[] = [
      { name: 'bytes', shape: [3], data: Uint8Array.of(1, 2, 255) },
      { name: '7', shape: [], data: Float32Array.of(-0.5) },
      { name: 'empty', shape: [2, 0, 5], data: new Float32Array(0) },
      { name: 'ünïcode "q"', shape: [1, 3], data: Int32Array.of(-1, 2, 3) },
      { name: 'long', shape: [2], data: BigInt64Array.of(-(2n ** 63n), 5n) },
      { name: 'double', shape: [1], dtype: 'F64', data: () => Float64Array.of(1 / 3) },
    ];
    await writeSafetensors(path, entries, { format: 'pt', note: 'x' });
    const bytes = await readFile(path);
    expect(bytes.readBigUInt64LE() % 8n).toBe(0n);
    expect(bytes.toString('utf8', 8, 40)).toMatch(/^\{"__metadata__":\{"format":"pt"/);
    const { metadata, tensors } = await readSafetensors(path);
    expect(metadata).toEqual({ format: 'pt', note: 'x' });
    expect([...tensors.keys()].sort()).toEqual(entries.map(({ name }) => name).sort());
    for (const { name, shape, data } of entries) {
      expect(tensors.get(name)?.shape).toEqual(shape);
      expect(await tensors.get(name)?.data()).toEqual(typeof data === 'function' ? await data() : data);
    }
    await expect(tensors.get('bytes')?.float32()).rejects.toThrow(/'bytes' must be F64, F32, F16 or BF16, got U8/);
  });

  test('holds one lazily made tensor at a time', async () => {
    let made = 0;
    let alive = 0;
    const entries = Array.from({ length: 5 }, (_, i) => ({
      name: `t${i}`,
      shape: [3],
      data: async () => {
        expect(++alive).toBe(1);
        await new Promise(setImmediate);
        alive--;
        return new Float32Array(3).fill(made++);
      },
    }));
    await writeSafetensors(join(folder, 'lazy.safetensors'), entries);
    expect(made).toBe(5);
  });

  test('a failure leaves the previous file and no temporary one', async () => {
    const path = join(folder, 'kept.safetensors');
    await writeSafetensors(path, [{ name: 'a', shape: [1], data: Float32Array.of(1) }]);
    const before = await readdir(folder);
    const broken = { name: 'b', shape: [1], data: () => Promise.reject(new TypeError('device lost')) };
    await expect(writeSafetensors(path, [{ name: 'a', shape: [1], data: Float32Array.of(2) }, broken])).rejects.toThrow(
      TypeError,
    );
    expect(await (await readSafetensors(path)).tensors.get('a')?.data()).toEqual(Float32Array.of(1));
    expect(await readdir(folder)).toEqual(before);
  });

  test.each([
    ['a missing folder', () => join(folder, 'none', 'a.safetensors')],
    ['a folder in its place', () => join(folder, 'occupied')],
  ])('%s is a FileFormatError naming the file', async (_, path) => {
    const before = await readdir(folder);
    const written = writeSafetensors(path(), [{ name: 'a', shape: [1], data: Float32Array.of(1) }]);
    await expect(written).rejects.toThrow(FileFormatError);
    await expect(written).rejects.toThrow(`cannot write '${path()}'`);
    expect(await readdir(folder)).toEqual(before);
  });

  test.each<[string, SafetensorsEntry[], RegExp]>([
    ['a shape of another size', [{ name: 'a', shape: [2], data: Float32Array.of(1) }], /'a' must be F32 of shape \[2\]/],
    ['a shape with a fraction', [{ name: 'a', shape: [0.5], data: Float32Array.of(1) }], /shape of 'a' must hold/],
    ['an unknown array', [{ name: 'a', shape: [1], data: Uint16Array.of(1) as never }], /got a Uint16Array/],
    [
      'another type than declared',
      [{ name: 'a', shape: [1], data: () => Int32Array.of(1) }],
      /must be F32 of shape \[1\], got a Int32Array/,
    ],
    ['a name given twice', [1, 2].map((x) => ({ name: 'a', shape: [1], data: Float32Array.of(x) })), /'a' is given twice/],
  ])('%s is an OptionError', async (_, entries, message) => {
    const written = writeSafetensors(join(folder, 'bad.safetensors'), entries);
    await expect(written).rejects.toThrow(OptionError);
    await expect(written).rejects.toThrow(message);
    expect(await readdir(folder)).not.toContain('bad.safetensors');
  });
});

describe('reading half precision', () => {
  const halves = Uint16Array.from({ length: 65536 }, (_, bits) => bits);
  const data = new Uint8Array(halves.buffer);
  const ieee = (bits: number, fractionBits: number, bias: number) => {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits & 0x7fff) >> fractionBits;
    const fraction = (bits & (2 ** fractionBits - 1)) / 2 ** fractionBits;
    if (exponent === 2 * bias + 1) return fraction === 0 ? sign * Infinity : Number.NaN;
    return Math.fround(exponent === 0 ? sign * fraction * 2 ** (1 - bias) : sign * (1 + fraction) * 2 ** (exponent - bias));
  };

  test.each([
    ['F16', 10, 15],
    ['BF16', 7, 127],
  ])('%s: all 65536 values', async (dtype, fractionBits, bias) => {
    const path = await craftSafetensors(
      join(folder, 'half.safetensors'),
      { h: { dtype, shape: [256, 256], data_offsets: [0, 131072] } },
      data,
    );
    const values = await (await readSafetensors(path)).tensors.get('h')?.float32();
    const expected = Float32Array.from(halves, (bits) => ieee(bits, fractionBits, bias));
    expect(values?.every((value, i) => Object.is(value, expected[i]))).toBe(true);
  });

  test('a large tensor lets the event loop turn', async () => {
    const length = 5_000_001;
    const header = { h: { dtype: 'F16', shape: [length], data_offsets: [0, 2 * length] } };
    const path = await craftSafetensors(join(folder, 'large.safetensors'), header, new Uint8Array(2 * length).fill(0x3c));
    const { tensors } = await readSafetensors(path);
    let turns = 0;
    const timer = setInterval(() => turns++, 0);
    const values = (await tensors.get('h')?.data()) as Float32Array;
    clearInterval(timer);
    expect(turns).toBeGreaterThanOrEqual(5);
    expect(values.length).toBe(length);
    expect(values.at(-1)).toBe(Math.fround(1 + 60 / 1024));
  });
});
