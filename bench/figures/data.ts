// The images of the figures: MNIST where its files are, else emoji.
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { DatasetError, ImageDataset } from 'diffusion-native';

const root = join(__dirname, '..', '..', '..');

/** Images to learn from, and others. */
export interface FigureData {
  name: 'mnist' | 'emoji';
  /** What they are and where they come from, for people. */
  about: string;
  train: ImageDataset;
  test: ImageDataset;
  /** A few of `test` at the size in which they are stored, for pictures. */
  shown: ImageDataset;
  /** Whether classes are there that a feature network can learn. */
  classes: boolean;
}

/** A file of an IDX set by its usual names; null where there is none. */
function idxFile(folder: string, part: 'train' | 't10k', kind: 'images-idx3' | 'labels-idx1'): string | null {
  const names = [`${part}-${kind}-ubyte`, `${part}-${kind.replace('-', '.')}-ubyte`].flatMap((name) => [name, `${name}.gz`]);
  return names.map((name) => join(folder, name)).find((path) => existsSync(path)) ?? null;
}

/**
 * MNIST from the folder of its IDX files: the one given, or the one beside the repository. Without either, the emoji of the demo.
 * @throws DatasetError for a given folder that lacks one of the files.
 */
export async function openFigureData(size: number, given?: string): Promise<FigureData> {
  const folder = given ?? join(root, '..', 'shared', 'data', 'mnist-idx');
  const paths = (['train', 't10k'] as const).flatMap((part) =>
    (['images-idx3', 'labels-idx1'] as const).map((kind) => idxFile(folder, part, kind)),
  );
  if (paths.every((path) => path !== null)) return mnist(paths as [string, string, string, string], size);
  if (given !== undefined)
    throw new DatasetError(
      `${given} must hold train-images-idx3-ubyte, train-labels-idx1-ubyte and the same of t10k, plain or .gz`,
    );
  return emoji(size);
}

async function mnist(paths: [string, string, string, string], size: number): Promise<FigureData> {
  const [trainImages, trainLabels, testImages, testLabels] = paths;
  return {
    name: 'mnist',
    about: `MNIST, resampled to ${size}×${size}`,
    train: await ImageDataset.idx(trainImages, trainLabels, { size }),
    test: await ImageDataset.idx(testImages, testLabels, { size }),
    shown: await ImageDataset.idx(testImages, testLabels),
    classes: true,
  };
}

/** Every other emoji to learn from. Their categories are no classes that pixels would show. */
async function emoji(size: number): Promise<FigureData> {
  const icons = createRequire(__filename).resolve('@iconify-json/fluent-emoji-flat/icons.json');
  const all = await ImageDataset.icons(icons, { size });
  return {
    name: 'emoji',
    about: `Fluent emoji, ${size}×${size}`,
    train: everyOther(all, 0),
    test: everyOther(all, 1),
    shown: await ImageDataset.icons(icons, { size: 32, categories: ['smileys'] }),
    classes: false,
  };
}

function everyOther(all: ImageDataset, first: number): ImageDataset {
  const indices = Int32Array.from({ length: Math.ceil((all.length - first) / 2) }, (_, i) => first + 2 * i);
  const values = new Uint8Array((indices.length * all.images.length) / all.length);
  all.gather(indices, values);
  return ImageDataset.tensor(values, [indices.length, ...all.shape]);
}

/** u8 images spread evenly over a set. */
export function spread(data: ImageDataset, count: number): Uint8Array {
  const indices = Int32Array.from({ length: count }, (_, i) => Math.floor((i * data.length) / count));
  const images = new Uint8Array((count * data.images.length) / data.length);
  data.gather(indices, images);
  return images;
}
