import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ImageDataset } from '../../lib/data/dataset.js';
import { DatasetError, FileFormatError, OptionError } from '../../lib/errors.js';
import { temporaryFolder } from '../support/temporaryFolder.js';

const folder = temporaryFolder();
const square = (colour: string) => ({ body: `<path fill="${colour}" d="M0 0h16v16H0z"/>` });
const icons = {
  'wave-dark': square('#111'),
  wave: square('#ff0'),
  'wave-medium-light': square('#eee'),
  'traffic-light': square('#0f0'),
  sun: { body: '<path fill="#f00" d="M0 0h8v16H0z"/>' },
  'sun-again': { body: '<path fill="#f00" d="M0 0h8v16H0z"/>' },
  old: { ...square('#00f'), hidden: true },
};
const categories = {
  'Hands & Arms': ['wave', 'wave-dark', 'wave-medium-light'],
  'Things Outside': ['sun', 'sun-again', 'traffic-light', 'old'],
};
const collection = { prefix: 'test', icons, width: 16, height: 16, categories };

/** The pixel in the middle of the left edge, and of the right edge, of image `index`. */
function edges({ images, height, width }: ImageDataset, index: number): number[][] {
  const row = (index * height + (height >> 1)) * width * 3;
  return [row, row + (width - 1) * 3].map((at) => [...images.subarray(at, at + 3)]);
}

describe('ImageDataset.icons', () => {
  it('draws distinct icons in the order of their names, with their categories', async () => {
    const data = await ImageDataset.icons(collection, { size: 8 });
    expect(data).toMatchObject({ length: 3, shape: [8, 8, 3], classNames: ['Hands & Arms', 'Things Outside'], numClasses: 2 });
    expect([...(data.labels ?? [])]).toEqual([1, 1, 0]);
    expect(edges(data, 0)).toEqual([
      [255, 0, 0],
      [255, 255, 255],
    ]);
    expect(edges(data, 1)[0]).toEqual([0, 255, 0]);
    expect(edges(data, 2)[0]).toEqual([255, 255, 0]);
  });

  it('takes skin tones, categories and another background when asked', async () => {
    const tones = await ImageDataset.icons(collection, { size: 8, skinTones: true, categories: ['hands'] });
    expect(tones).toMatchObject({ length: 3, classNames: ['Hands & Arms'] });
    expect([0, 1, 2].map((index) => edges(tones, index)[0]?.[0])).toEqual([255, 0x11, 0xee]);
    const blue = await ImageDataset.icons(collection, {
      size: [4, 8],
      background: 'blue',
      categories: ['THINGS outside', 'hands'],
    });
    expect(blue).toMatchObject({ height: 4, width: 8, classNames: ['Things Outside', 'Hands & Arms'] });
    expect([...(blue.labels ?? [])]).toEqual([0, 0, 1]);
    expect(edges(blue, 0)[1]).toEqual([0, 0, 255]);
  });

  it('reads a package object, and a file with its metadata beside it', async () => {
    const { categories: _, ...bare } = collection;
    const path = join(folder, 'icons.json');
    writeFileSync(path, JSON.stringify(bare));
    expect((await ImageDataset.icons(path, { size: 8 })).labels).toBeNull();
    writeFileSync(join(folder, 'metadata.json'), JSON.stringify({ categories }));
    const expected = await (await ImageDataset.icons(collection, { size: 8 })).fingerprint();
    expect(await (await ImageDataset.icons(path, { size: 8 })).fingerprint()).toBe(expected);
    const exported = await ImageDataset.icons({ icons: bare, metadata: { categories } }, { size: 8 });
    expect(await exported.fingerprint()).toBe(expected);
  });

  it('gives icons without a category a class of their own', async () => {
    const data = await ImageDataset.icons({ ...collection, categories: { Arms: ['wave'] } }, { size: 8 });
    expect(data.classNames).toEqual(['Arms', 'Uncategorised']);
    expect([...(data.labels ?? [])]).toEqual([1, 1, 0]);
  });

  it('refuses unknown categories, listing the known ones', async () => {
    const unknown = ImageDataset.icons(collection, { size: 8, categories: ['food'] });
    await expect(unknown).rejects.toThrow(OptionError);
    await expect(unknown).rejects.toThrow(/'food'.*'Hands & Arms', 'Things Outside'/);
    await expect(ImageDataset.icons(collection, { size: 8, categories: ['hands', 'Hands & Arms'] })).rejects.toThrow(/twice/);
    const { categories: _, ...bare } = collection;
    await expect(ImageDataset.icons(bare, { size: 8, categories: ['food'] })).rejects.toThrow(/metadata/);
  });

  it('refuses what is no collection or cannot be drawn', async () => {
    for (const source of [7, null, {}, { icons: { a: {} } }]) {
      await expect(ImageDataset.icons(source as never, { size: 8 })).rejects.toThrow(OptionError);
    }
    const path = join(folder, 'broken.json');
    await expect(ImageDataset.icons(path, { size: 8 })).rejects.toThrow(FileFormatError);
    writeFileSync(path, '{');
    await expect(ImageDataset.icons(path, { size: 8 })).rejects.toThrow(FileFormatError);
    writeFileSync(path, '[]');
    await expect(ImageDataset.icons(path, { size: 8 })).rejects.toThrow(/broken\.json is no Iconify collection/);
    const broken = { prefix: 'test', icons: { bad: { body: '<g><path</g>' } } };
    await expect(ImageDataset.icons(broken, { size: 8 })).rejects.toThrow(/cannot draw icon 'bad'/);
    await expect(ImageDataset.icons({ prefix: 'test', icons: {} }, { size: 8 })).rejects.toThrow(DatasetError);
    await expect(ImageDataset.icons(collection, { size: 8, background: 'whitish' })).rejects.toThrow(OptionError);
    await expect(ImageDataset.icons(collection, { size: 8, categories: [] })).rejects.toThrow(OptionError);
  });

  it('draws the smileys of Fluent Emoji', async () => {
    const path = createRequire(__filename).resolve('@iconify-json/fluent-emoji-flat/icons.json');
    const data = await ImageDataset.icons(path, { size: 16, categories: ['smileys', 'animals'] });
    expect([...(data.labels ?? [])].filter((label) => label === 0).length).toBe(168);
    expect([...(data.labels ?? [])].filter((label) => label === 1).length).toBe(152);
    expect(new Set(Array.from({ length: data.length }, (_, i) => data.images.subarray(i * 768, i * 768 + 768).join())).size).toBe(
      320,
    );
  });
});
