import { expect, test } from 'vitest';
import { ImageDataset } from '../../lib/index.js';
import { Batches } from '../../lib/training/batches.js';

/** Images that are their number in every value. */
function numbered(count: number, size: number): ImageDataset {
  const images = new Uint8Array(count * size * size).map((_, i) => Math.floor(i / (size * size)));
  return ImageDataset.tensor(images, [count, size, size, 1], { labels: Array.from({ length: count }, (_, i) => i) });
}

test.each([
  [5, 3, 7],
  [13, 5, 3],
  [7, 600, 10], // more than a megabyte: copied in pieces
])('batches of data %#: every image once an epoch, across batches', async (count, size, batchSize) => {
  const data = numbered(count, size);
  const batches = new Batches(data, batchSize, { seed: 3, labelled: true });
  const seen: number[] = [];
  for (let step = 0; step < count; step++) {
    const { images, labels } = await batches.of(step);
    expect(images.length).toBe(batchSize * size * size);
    for (let n = 0; n < batchSize; n++) {
      const image = images.subarray(n * size * size, (n + 1) * size * size);
      expect(image.every((value) => value === labels?.[n])).toBe(true);
      seen.push(labels?.[n] as number);
    }
  }
  for (let epoch = 0; epoch < batchSize; epoch++)
    expect(seen.slice(epoch * count, (epoch + 1) * count).sort((a, b) => a - b)).toEqual([...data.images.keys()].slice(0, count));
  expect(Array.from((await new Batches(data, batchSize, { seed: 3, labelled: true }).of(1)).labels ?? [])).toEqual(
    seen.slice(batchSize, 2 * batchSize),
  );
});

test('without classes there are no labels; the batch before stays while one is filled', async () => {
  const batches = new Batches(numbered(9, 2), 2, { seed: 0, labelled: false });
  const first = await batches.of(0);
  const copy = first.images.slice();
  expect(first.labels).toBeNull();
  await batches.of(1);
  expect(first.images).toEqual(copy);
});
