import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { describe, expect, it } from 'vitest';
import { FileFormatError, NonFiniteError, OptionError, ShapeError } from '../../lib/errors.js';
import { encodePng, saveImageGrid } from '../../lib/files/png.js';
import { temporaryFolder } from '../support/temporaryFolder.js';

const folder = temporaryFolder();
const path = join(folder, 'made', 'here', 'grid.png');

async function read(file: string | Buffer) {
  const { format, width, height, channels } = await sharp(file).metadata();
  return {
    format,
    width,
    height,
    channels,
    pixels: await sharp(file)
      .toColourspace(channels === 1 ? 'b-w' : 'srgb')
      .raw()
      .toBuffer(),
  };
}

describe('encodePng', () => {
  it.each([1, 3, 4])('keeps every byte of %i channels', async (channels) => {
    const pixels = Uint8Array.from({ length: 3 * 5 * channels }, (_, i) => i * 4 + 1);
    const png = await read(await encodePng(pixels, 3, 5, channels));
    expect(png).toMatchObject({ format: 'png', height: 3, width: 5, channels });
    expect([...png.pixels]).toEqual([...pixels]);
  });

  it('refuses shapes that do not fit', async () => {
    await expect(encodePng(new Uint8Array(14), 3, 5, 1)).rejects.toThrow(/needs 15 values, got 14/);
    await expect(encodePng(new Uint8Array(30), 3, 5, 2)).rejects.toThrow(ShapeError);
    await expect(encodePng(new Uint8Array(0), 0, 5, 1)).rejects.toThrow(ShapeError);
  });
});

describe('saveImageGrid', () => {
  it('rounds and clamps values', async () => {
    const values = Float32Array.of(-1, 1, 0, -7, 7, -1 + 2 / 255, -1 + 2.9 / 255, -1 + 3.1 / 255);
    await saveImageGrid(path, values, [1, 2, 4, 1]);
    const png = await read(path);
    expect(png).toMatchObject({ height: 2, width: 4, channels: 1 });
    expect([...png.pixels]).toEqual([0, 255, 128, 0, 255, 1, 1, 2]);
  });

  it('lays pictures out in rows with gaps, enlarged', async () => {
    // Five 1×2 RGB pictures, picture i all of value i·20, on a 3×2 grid, scale 2, gap 1.
    const values = Float32Array.from({ length: 5 * 2 * 3 }, (_, i) => (Math.floor(i / 6) * 20) / 127.5 - 1);
    await saveImageGrid(path, values, [5, 1, 2, 3], { scale: 2, gap: 1, background: 'rgb(250, 251, 252)' });
    const png = await read(path);
    expect(png).toMatchObject({ height: 5, width: 14, channels: 3 });
    const gap = [250, 251, 252];
    for (let y = 0; y < 5; y++) {
      for (let x = 0; x < 14; x++) {
        const picture = Math.floor(y / 3) * 3 + Math.floor(x / 5);
        const empty = y === 2 || x % 5 === 4 || picture === 5;
        const expected = empty ? gap : [picture * 20, picture * 20, picture * 20];
        expect([...png.pixels.subarray((y * 14 + x) * 3, (y * 14 + x) * 3 + 3)], `pixel ${y}, ${x}`).toEqual(expected);
      }
    }
  });

  it('keeps the place of every value when enlarged', async () => {
    const values = Float32Array.from({ length: 2 * 3 * 4 }, (_, i) => i / 127.5 - 1);
    await saveImageGrid(path, values, [1, 2, 3, 4], { scale: 3 });
    const png = await read(path);
    for (let y = 0; y < 6; y++) {
      for (let x = 0; x < 9; x++) {
        const first = (Math.floor(y / 3) * 3 + Math.floor(x / 3)) * 4;
        expect([...png.pixels.subarray((y * 9 + x) * 4, (y * 9 + x) * 4 + 4)]).toEqual([first, first + 1, first + 2, first + 3]);
      }
    }
  });

  it('takes ⌈√n⌉ columns, a gap of two and white unless told', async () => {
    await saveImageGrid(path, new Float32Array(10 * 9), [10, 3, 3, 1]);
    const png = await read(path);
    expect(png).toMatchObject({ width: 4 * 3 + 3 * 2, height: 3 * 3 + 2 * 2 });
    expect(png.pixels[3]).toBe(255);
    await saveImageGrid(path, new Float32Array(10 * 9), [10, 3, 3, 1], { columns: 5 });
    expect(await read(path)).toMatchObject({ width: 23, height: 8 });
    await saveImageGrid(path, new Float32Array(2 * 9), [2, 3, 3, 1], { columns: 4 });
    expect(await read(path)).toMatchObject({ width: 8, height: 3 });
  });

  it('refuses values that are not finite, and leaves the earlier file', async () => {
    const kept = join(folder, 'kept.png');
    writeFileSync(kept, 'earlier');
    const values = new Float32Array(3 * 4 * 3);
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY]) {
      values[2 * 12 + 7] = bad;
      const saved = saveImageGrid(kept, values, [3, 2, 2, 3]);
      await expect(saved).rejects.toThrow(NonFiniteError);
      await expect(saved).rejects.toThrow(/kept\.png: picture 2 has (NaN|Infinity) at row 1, column 0, channel 1/);
    }
    const unchanged = readdirSync(folder).filter((name) => name.startsWith('.kept') || name === 'kept.png');
    expect(unchanged).toEqual(['kept.png']);
  });

  it('names a path that cannot be written', async () => {
    const occupied = join(folder, 'occupied');
    mkdirSync(occupied);
    writeFileSync(join(folder, 'file'), '');
    for (const target of [occupied, join(folder, 'file', 'grid.png')]) {
      const saved = saveImageGrid(target, new Float32Array(1), [1, 1, 1, 1]);
      await expect(saved).rejects.toThrow(FileFormatError);
      await expect(saved).rejects.toThrow(target);
    }
  });

  it('refuses shapes and options that do not fit', async () => {
    const save = (shape: number[], options?: object) => saveImageGrid(path, new Float32Array(12), shape, options);
    await expect(save([12, 1, 1])).rejects.toThrow(ShapeError);
    await expect(save([1, 2, 3, 2])).rejects.toThrow(/1, 3 or 4 channels, got 2/);
    await expect(save([1, 2, 3, 1])).rejects.toThrow(/needs 6 values, got 12/);
    await expect(save([0, 2, 3, 1])).rejects.toThrow(ShapeError);
    for (const options of [{ columns: 0 }, { scale: 1.5 }, { gap: -1 }, { background: 'whitish' }, { rows: 2 }]) {
      await expect(save([1, 2, 2, 3], options), JSON.stringify(options)).rejects.toThrow(OptionError);
    }
  });

  it('leaves the event loop free', async () => {
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    await saveImageGrid(path, new Float32Array(64 * 128 * 128 * 3), [64, 128, 128, 3]);
    clearInterval(timer);
    expect(turns).toBeGreaterThan(5);
  });
});
