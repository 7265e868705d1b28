import { createReadStream } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { FileFormatError } from '../errors.js';
import { isSystemError, makeFolders } from '../files/atomic.js';
import { checkPath } from '../options.js';

/** One line of a run's `metrics.jsonl`. */
export interface RunMetrics {
  /** Steps taken since the beginning of training, this one included. */
  step: number;
  /** Mean over the batch; null where it was not finite. */
  loss: number | null;
  /** L2 norm of the gradient of all parameters before clipping; null where it was not finite. */
  gradientNorm: number | null;
  /** Step size of this update. */
  learningRate: number;
  /** Images of this step by the time since the one before was done. */
  imagesPerSecond: number;
  /** Seconds of training until this step was done; the time between an interruption and `--resume` is left out. */
  seconds: number;
}

/** Name of the file within the run's folder. */
export const metricsFile = 'metrics.jsonl';

const newline = 10;

/** No line is so long. */
const lineBytes = 1 << 16;

/**
 * The metrics of a run, in the order of its steps, read as the file comes from the disk. A torn end, which a killed run leaves
 * behind, is passed over: reading stops at the first line that is not whole, or whose step is not above the one before.
 * @param directory the run's folder
 * @throws OptionError; FileFormatError naming the file that cannot be read.
 */
export async function* readMetrics(directory: string): AsyncGenerator<RunMetrics, void, undefined> {
  checkPath('readMetrics', 'directory', directory);
  for await (const { metrics } of linesOf(join(directory, metricsFile))) yield metrics;
}

/** Every sound line with the place behind it, in bytes. */
async function* linesOf(path: string): AsyncGenerator<{ metrics: RunMetrics; end: number }, void, undefined> {
  let rest = Buffer.alloc(0);
  let end = 0;
  let last = 0;
  try {
    for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
      rest = Buffer.concat([rest, chunk]);
      let first = 0;
      for (let at = rest.indexOf(newline); at >= 0; at = rest.indexOf(newline, first)) {
        const metrics = parse(rest.toString('utf8', first, at));
        if (!metrics || metrics.step <= last) return;
        end += at + 1 - first;
        first = at + 1;
        last = metrics.step;
        yield { metrics, end };
      }
      rest = rest.subarray(first);
      if (rest.length > lineBytes) return;
    }
  } catch (error) {
    if (!isSystemError(error)) throw error;
    throw new FileFormatError(`cannot read '${path}': ${error.message}`, { cause: error });
  }
}

function parse(line: string): RunMetrics | null {
  try {
    const metrics = JSON.parse(line) as RunMetrics | null;
    return Number.isSafeInteger(metrics?.step) && Number.isFinite(metrics?.seconds) ? metrics : null;
  } catch {
    return null;
  }
}

/**
 * The metrics file of a run that goes on. Lines are appended in the background, as many at once as have come meanwhile; a process
 * that is killed loses those of the last moments, and leaves at most one torn line, which the next `open` cuts off.
 */
export class MetricsFile {
  readonly path: string;
  readonly #file: FileHandle;
  #pending = '';
  #writing: Promise<void> | null = null;
  #failure: FileFormatError | null = null;

  private constructor(path: string, file: FileHandle) {
    this.path = path;
    this.#file = file;
  }

  /**
   * Makes folder and file where they are missing, and cuts off what lies beyond `step`.
   * @param onKept hears of each line that stays
   * @throws FileFormatError naming the file when the system refuses.
   */
  static async open(directory: string, step: number, onKept: (metrics: RunMetrics) => void): Promise<MetricsFile> {
    const path = join(directory, metricsFile);
    let file: FileHandle | undefined;
    try {
      await makeFolders(directory);
      file = await open(path, 'a');
      let kept = 0;
      for await (const { metrics, end } of linesOf(path)) {
        if (metrics.step > step) break;
        onKept(metrics);
        kept = end;
      }
      await file.truncate(kept);
      return new MetricsFile(path, file);
    } catch (error) {
      await file?.close();
      throw cannotWrite(path, error);
    }
  }

  /**
   * Takes a line; numbers that JSON does not know become null.
   * @throws FileFormatError naming the file when an earlier line could not be written.
   */
  append(metrics: RunMetrics): void {
    if (this.#failure) throw this.#failure;
    this.#pending += `${JSON.stringify(metrics)}\n`;
    this.#writing ??= this.#write();
  }

  async #write(): Promise<void> {
    try {
      while (this.#pending !== '') {
        const text = this.#pending;
        this.#pending = '';
        await this.#file.appendFile(text);
      }
    } catch (error) {
      this.#failure = cannotWrite(this.path, error) as FileFormatError;
    } finally {
      this.#writing = null;
    }
  }

  /** Resolves when all lines are in the file. @throws FileFormatError naming the file when that failed. */
  async close(): Promise<void> {
    await this.#writing;
    await this.#file.close();
    if (this.#failure) throw this.#failure;
  }
}

function cannotWrite(path: string, error: unknown): unknown {
  return isSystemError(error) ? new FileFormatError(`cannot write '${path}': ${error.message}`, { cause: error }) : error;
}
