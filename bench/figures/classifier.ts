// A small classifier of the data's classes, whose features a distance between sets of images is measured in.
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AdamW, backward, type Device, type ImageDataset, noGrad, ops, Parameter, type Tensor } from 'diffusion-native';
import type { Workshop } from './train.js';

const widths = [16, 32, 64] as const;

/** Length of a feature vector. */
export const featureCount = widths[2];

type Layer = (x: Tensor) => Tensor;

/** Three convolutions, each normalised, with SiLU, the first two pooled; the mean over all places is the feature vector. */
export class Classifier {
  readonly parameters = new Map<string, Parameter>();
  readonly #layers: Layer[];
  readonly #head: Layer;

  constructor(
    readonly device: Device,
    readonly channels: number,
    readonly classes: number,
  ) {
    this.#layers = widths.map((width, i) => this.#convolution(`${i}`, i === 0 ? channels : (widths[i - 1] as number), width));
    const [weight, bias] = [this.#weight('head.weight', [classes, featureCount]), this.#weight('head.bias', [classes])];
    this.#head = (x) => ops.linear(x, weight, { bias });
  }

  #weight(name: string, shape: number[], init?: number): Parameter {
    const made = new Parameter(this.device, shape, { name, init, seed: this.parameters.size });
    this.parameters.set(name, made);
    return made;
  }

  #convolution(name: string, from: number, to: number): Layer {
    const [weight, bias] = [this.#weight(`${name}.weight`, [to, from, 3, 3]), this.#weight(`${name}.bias`, [to])];
    const [gamma, beta] = [this.#weight(`${name}.gamma`, [to], 1), this.#weight(`${name}.beta`, [to])];
    return (x) => ops.groupNorm(ops.conv2d(x, weight, { bias, padding: 1 }), gamma, beta, { groups: 4, silu: true });
  }

  /** [n, h, w, c] in [-1, 1] → [n, featureCount] */
  #features(x: Tensor): Tensor {
    const [first, second, third] = this.#layers as [Layer, Layer, Layer];
    return ops.mean(third(ops.maxPool2d(second(ops.maxPool2d(first(x), 2)), 2)), { axes: [1, 2] });
  }

  /** One step towards lower cross-entropy, whose gradient in the logits is softmax − one-hot. */
  step(optimizer: AdamW, images: Uint8Array, shape: readonly number[], labels: Int32Array): void {
    const { device, classes } = this;
    const wanted = new Float32Array(labels.length * classes);
    for (const [row, label] of labels.entries()) wanted[row * classes + label] = 1;
    optimizer.zeroGrad();
    device.scope(() => {
      const logits = this.#head(this.#features(device.tensor(unit(images), shape)));
      const slope = noGrad(() => ops.sub(ops.softmax(logits), device.tensor(wanted, [labels.length, classes])));
      backward(ops.scale(ops.mean(ops.mul(logits, slope)), classes));
    });
    optimizer.step();
  }

  /** Features [n, featureCount] of u8 images, and the logits [n, classes]. */
  async read(images: Uint8Array, [height, width]: readonly number[]): Promise<{ features: Float32Array; logits: Float32Array }> {
    const [pixels, together] = [(height as number) * (width as number) * this.channels, 500];
    const count = images.length / pixels;
    const found = { features: new Float32Array(count * featureCount), logits: new Float32Array(count * this.classes) };
    for (let first = 0; first < count; first += together) {
      const some = images.subarray(first * pixels, Math.min(count, first + together) * pixels);
      const shape = [some.length / pixels, height as number, width as number, this.channels];
      const [features, logits] = noGrad(() =>
        this.device.scope(() => {
          const features = this.#features(this.device.tensor(unit(some), shape));
          return [features, this.#head(features)] as const;
        }),
      );
      found.features.set((await features.read()) as Float32Array, first * featureCount);
      found.logits.set((await logits.read()) as Float32Array, first * this.classes);
      features.dispose();
      logits.dispose();
    }
    return found;
  }
}

/** u8 → [-1, 1] */
export const unit = (values: Uint8Array): Float32Array => Float32Array.from(values, (value) => value / 127.5 - 1);

/** The share of images that a classifier names rightly. */
export async function accuracy(classifier: Classifier, data: ImageDataset): Promise<number> {
  const { logits } = await classifier.read(data.images, data.shape);
  const { classes } = classifier;
  let right = 0;
  for (let row = 0; row < data.length; row++) {
    const own = logits.subarray(row * classes, (row + 1) * classes);
    if (own.indexOf(Math.max(...own)) === data.labels?.[row]) right++;
  }
  return right / data.length;
}

/** The classifier of the data, trained once and then read from the folder. */
export async function trainedClassifier({ device, data, settings, folder, log }: Workshop): Promise<Classifier> {
  const classifier = new Classifier(device, data.channels, data.numClasses);
  const path = join(folder, 'classifier.f32');
  const { steps, batchSize, learningRate, seed } = settings.classifier;
  if (existsSync(path)) {
    const values = await readFile(path);
    let offset = 0;
    for (const parameter of classifier.parameters.values()) {
      const bytes = 4 * parameter.shape.reduce((product, extent) => product * extent, 1);
      parameter.write(new Float32Array(Uint8Array.from(values.subarray(offset, offset + bytes)).buffer));
      offset += bytes;
    }
    return classifier;
  }
  const optimizer = new AdamW(classifier.parameters, { learningRate, gradientClip: 1 });
  const reader = data.open({ batchSize, seed, labelled: true });
  const images = new Uint8Array((batchSize * data.images.length) / data.length);
  const labels = new Int32Array(batchSize);
  for (let n = 0; n < steps; n++) {
    await reader.read(n * batchSize, images, labels);
    classifier.step(optimizer, images, [batchSize, ...data.shape], labels);
    await device.synchronize();
    if ((n + 1) % 500 === 0) log(`classifier: step ${n + 1} of ${steps}`);
  }
  await reader.close();
  const values = await Promise.all([...classifier.parameters.values()].map((parameter) => parameter.read()));
  await writeFile(
    path,
    Buffer.concat(values.map(({ buffer, byteOffset, byteLength }) => Buffer.from(buffer, byteOffset, byteLength))),
  );
  return classifier;
}
