/** How a run goes through a data set. */
export interface ReadingOptions {
  /** Images a step: the measure of how far to read ahead. */
  batchSize: number;
  /** Of the order. */
  seed: number;
  /** Whether every image must come with its label. */
  labelled: boolean;
  /** Labels must be below this. */
  numClasses?: number | undefined;
}

/** Reads the endless stream of images that a run sees: epoch after epoch, in the order of the run's seed. */
export interface ImageReader {
  /**
   * Copies the entries from `position` on to `images` `[count, height, width, channels]` and `labels` `[count]`. What they are
   * depends on seed and position only. One call at a time; cheap where the call before ended, a new beginning elsewhere.
   * @throws DatasetError, FileFormatError for an image that cannot be had; the signal's reason, even while a source hangs.
   */
  read(position: number, images: Uint8Array, labels: Int32Array | null, signal?: AbortSignal): Promise<void>;
  /** Stops reading ahead and lets go of the source. A later `read` begins anew. */
  close(): Promise<void>;
}

/** Where images come from: memory, files that are decoded when their turn comes, or an iterable. */
export interface ImageSource {
  /** `[height, width, channels]` of every image. */
  readonly shape: readonly [height: number, width: number, channels: number];
  /** Images an epoch; Infinity where that is not known beforehand. */
  readonly length: number;
  /** One class index an image, where they are known beforehand. */
  readonly labels: Int32Array | null;
  readonly classNames: readonly string[] | null;
  /** 0 where it is not known. */
  readonly numClasses: number;
  /** Whether images come with labels; of an iterable that shows when it is read, and is true before. */
  readonly labelled: boolean;
  /** Files left out because they cannot be decoded. */
  readonly skipped: readonly string[];
  /** A reader; nothing is read before it is asked. */
  open(options: ReadingOptions): ImageReader;
  /** A hash that tells data sets apart. */
  fingerprint(): Promise<string>;
}
