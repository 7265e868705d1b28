// How near a set of images is to the data: the Fréchet distance of whitened features where a classifier gives them, and the sliced
// Wasserstein distance of pixels.
import { type Device, slicedWasserstein } from 'diffusion-native';
import { type Classifier, featureCount, unit } from './classifier.js';
import { type FigureData, spread } from './data.js';
import { FrechetReference, momentsOf, whitening } from './frechet.js';
import { type Estimate, jackknife } from './jackknife.js';
import type { Settings } from './settings.js';

/** Distances of one set; both are smaller for better samples. */
export interface Quality {
  /** Absent where the data have no classes. */
  frechet?: Estimate;
  sliced: Estimate;
}

/** Measures sets of `count` images against the images to learn from. */
export class QualityMeasure {
  /** Images of a set. */
  readonly count: number;
  readonly #pixels: number;
  readonly #images: Uint8Array;
  #reference: { distance: FrechetReference; whiten: (features: Float32Array) => Float32Array } | null = null;

  constructor(
    readonly device: Device,
    readonly settings: Settings,
    readonly data: FigureData,
    readonly classifier: Classifier | null,
  ) {
    const { train, test } = data;
    const { groups, samples } = settings;
    this.count = groups * Math.floor(Math.min(samples, train.length, test.length) / groups);
    this.#pixels = train.height * train.width * train.channels;
    this.#images = spread(train, this.count);
  }

  /** As many images that the networks have not seen: what perfect samples would have. */
  async floor(): Promise<Quality> {
    return this.of(spread(this.data.test, this.count));
  }

  /** @param images u8 [count, h, w, c] */
  async of(images: Uint8Array): Promise<Quality> {
    const { settings, count } = this;
    const size = count / settings.groups;
    const sliced = await jackknife(settings.groups, (group) => this.#sliced(images, group, size));
    if (!this.classifier) return { sliced };
    const { classifier } = this;
    const shape = this.data.train.shape;
    if (!this.#reference) {
      const { features } = await classifier.read(this.data.train.images, shape);
      const whiten = whitening(momentsOf(features, featureCount));
      this.#reference = { whiten, distance: new FrechetReference(momentsOf(whiten(features), featureCount)) };
    }
    const { distance, whiten } = this.#reference;
    const features = whiten((await classifier.read(images, shape)).features);
    const frechet = await jackknife(settings.groups, (group) =>
      distance.distance(momentsOf(features, featureCount, (row) => Math.floor(row / size) !== group)),
    );
    return { frechet, sliced };
  }

  /** Both sets without the group, since they must have as many images. */
  async #sliced(images: Uint8Array, group: number | null, size: number): Promise<number> {
    const { device, settings } = this;
    const [a, b] = [images, this.#images].map((all) => {
      const kept = unit(group === null ? all : without(all, group * size * this.#pixels, size * this.#pixels));
      return device.tensor(kept, [kept.length / this.#pixels, this.#pixels]);
    }) as [ReturnType<Device['tensor']>, ReturnType<Device['tensor']>];
    try {
      return await slicedWasserstein(a, b, { projections: settings.projections, seed: 1 });
    } finally {
      a.dispose();
      b.dispose();
    }
  }
}

function without(values: Uint8Array, from: number, length: number): Uint8Array {
  const rest = new Uint8Array(values.length - length);
  rest.set(values.subarray(0, from));
  rest.set(values.subarray(from + length), from);
  return rest;
}
