import { DatasetError } from '../errors.js';
import { type Cifar10Options, readCifar10 } from './cifar10.js';
import { type FolderOptions, openFolder } from './folder.js';
import type { IconSource } from './iconify.js';
import { type IconOptions, readIcons } from './icons.js';
import { type IdxOptions, readIdx } from './idx.js';
import type { ImageIterableSource } from './imageIterable.js';
import { type IterableOptions, IterableSource } from './iterableSource.js';
import { MemorySource } from './memorySource.js';
import type { ImageReader, ImageSource, ReadingOptions } from './source.js';
import { imagesOf, type TensorDatasetOptions } from './tensorImages.js';

/**
 * Images as u8 values, NHWC, with a class label each where the source has classes: all in memory, or, for a set that is larger,
 * had when their turn comes.
 */
export class ImageDataset {
  /** Number of images; Infinity for an iterable that does not say. */
  readonly length: number;
  /** Rows of every image. */
  readonly height: number;
  /** Columns of every image. */
  readonly width: number;
  /** Values of a pixel: 1 grey, 3 RGB, 4 with alpha. */
  readonly channels: number;
  /** One class index an image, `[length]`; null without labels, or when an iterable gives them. */
  readonly labels: Int32Array | null;
  /** One name a class, in the order of their indices; null where the source has none. */
  readonly classNames: readonly string[] | null;
  /** Number of classes; 0 without labels, or when it is not known. */
  readonly numClasses: number;
  /** Whether images come with labels. */
  readonly labelled: boolean;
  /** Files left out because they cannot be decoded. */
  readonly skipped: readonly string[];
  /** Whether the images are not all in memory: there are no `images` and no `gather` then. */
  readonly streamed: boolean;
  readonly #source: ImageSource;
  #fingerprint: Promise<string> | undefined;

  private constructor(source: ImageSource) {
    this.length = source.length;
    [this.height, this.width, this.channels] = source.shape;
    this.labels = source.labels;
    this.classNames = source.classNames;
    this.numClasses = source.numClasses;
    this.labelled = source.labelled;
    this.skipped = source.skipped;
    this.streamed = !(source instanceof MemorySource);
    this.#source = source;
  }

  /**
   * All images, `[length, height, width, channels]`.
   * @throws DatasetError when they are not all in memory.
   */
  get images(): Uint8Array {
    return this.#inMemory('images').images;
  }

  /** `[height, width, channels]` of every image. */
  get shape(): [height: number, width: number, channels: number] {
    return [this.height, this.width, this.channels];
  }

  /**
   * Opens every image under `path`, at any depth. Files are told by extension, hidden files and folders are passed over, the order
   * is that of the sorted names.
   *
   * The classes are the root's sub-folders, numbered in the order of their names (deeper folders belong to the sub-folder they are
   * in). With images in the root too, there are no labels, for not every image has a class; option `labels` demands or forgoes
   * them.
   *
   * Pictures may have 1, 8 or 16 bits, a palette, grey, RGB or CMYK values, and transparency, which is composited on `background`.
   * EXIF orientation is applied; of an animation the first frame is taken.
   * @throws FileFormatError naming the path: missing folder, an image that cannot be decoded.
   * @throws DatasetError naming the path: a folder or class folder without images; with `labels: true`, an image in the root.
   */
  static async folder(path: string, options: FolderOptions): Promise<ImageDataset> {
    return new ImageDataset(await openFolder(path, options));
  }

  /**
   * Images that an iterable gives while training goes on, in its own order: u8 values `[height, width, channels]`, with a class
   * index each where a model with classes is trained. See {@link ImageIterableSource}.
   *
   * What it throws ends the training with a DatasetError that has it as `cause` (an AbortError goes through as it is). Its `return`
   * is called when a run is aborted, left or fails, and by `trainer.dispose()`.
   * @throws OptionError
   */
  static from(source: ImageIterableSource, options: IterableOptions): ImageDataset {
    return new ImageDataset(new IterableSource(source, options));
  }

  /**
   * Reads grey u8 images, and u8 labels if their path is given, from IDX files (the format of MNIST), plain or gzip.
   * @throws FileFormatError naming the file: missing, wrong magic number, truncated, trailing bytes, broken gzip.
   * @throws DatasetError: no images, or not one label an image.
   */
  static async idx(imagesPath: string, labelsPath?: string, options?: IdxOptions): Promise<ImageDataset> {
    return new ImageDataset(new MemorySource(await readIdx(imagesPath, labelsPath, options)));
  }

  /**
   * Reads the binary version of CIFAR-10 from the folder that holds its `data_batch_1.bin` … `data_batch_5.bin` and
   * `test_batch.bin`.
   * @throws FileFormatError for a missing file, or one that is not whole records or has a label above 9.
   */
  static async cifar10(folder: string, options?: Cifar10Options): Promise<ImageDataset> {
    return new ImageDataset(new MemorySource(await readCifar10(folder, options)));
  }

  /**
   * Draws the icons of an Iconify collection in RGB, in the order of their names; its categories are the classes. Hidden icons,
   * aliases, and icons drawn like an earlier one are left out, and skin-tone variants unless `skinTones`.
   * @throws OptionError for an unknown category, listing the known ones, or a `source` that is no collection.
   * @throws DatasetError or FileFormatError naming the file or icon that cannot be read or drawn.
   */
  static async icons(source: IconSource, options: IconOptions): Promise<ImageDataset> {
    return new ImageDataset(new MemorySource(await readIcons(source, options)));
  }

  /**
   * Images that are in memory already: `data` `[n, height, width, channels]`, not copied.
   * @throws DTypeError when `data` is no Uint8Array; ShapeError when it does not fit `shape`; OptionError for a wrong option;
   * DatasetError when the labels do not fit the images or the class names.
   */
  static tensor(
    data: Uint8Array,
    shape: readonly [n: number, height: number, width: number, channels: number],
    options: TensorDatasetOptions = {},
  ): ImageDataset {
    return new ImageDataset(new MemorySource(imagesOf(data, shape, options)));
  }

  /**
   * Copies images `indices[k]` to `out[k]`, and their labels to `outLabels[k]`.
   * @param out `[indices.length, height, width, channels]`
   * @throws ShapeError for a wrong length; DatasetError for an index outside the set, labels that it does not have, or images that
   * are not all in memory.
   */
  gather(indices: Int32Array, out: Uint8Array, outLabels?: Int32Array): void {
    this.#inMemory('gather').gather(indices, out, outLabels);
  }

  /** What training reads batches from; nothing is read before it is asked. */
  open(options: ReadingOptions): ImageReader {
    return this.#source.open(options);
  }

  /**
   * A hash that tells data sets apart, computed once: a SHA-256 over the values and labels, for a folder over the names, sizes and
   * both ends of its files, and for an iterable over its options only.
   * @throws FileFormatError naming a file that is gone.
   */
  async fingerprint(): Promise<string> {
    this.#fingerprint ??= this.#source.fingerprint();
    try {
      return await this.#fingerprint;
    } catch (error) {
      this.#fingerprint = undefined;
      throw error;
    }
  }

  #inMemory(what: string): MemorySource {
    if (this.#source instanceof MemorySource) return this.#source;
    throw new DatasetError(`ImageDataset.${what}: the images are not all in memory, they are had when training comes to them`);
  }
}
