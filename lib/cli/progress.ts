import { Presets, SingleBar } from 'cli-progress';
import { duration } from './output.js';

/** Milliseconds between two lines where there is no terminal. */
const lineInterval = 5000;

/** Seconds after which what has been done tells how long the rest will take. */
const settled = 0.5;

/** Shows how far something is: a bar on a terminal, now and then a line elsewhere; always on standard error. */
export class Progress {
  readonly #title: string;
  readonly #total: number;
  readonly #first: number;
  readonly #bar: SingleBar | null;
  readonly #began = performance.now();
  #lastLine = Number.NEGATIVE_INFINITY;

  /** `first` of the total were finished before. */
  constructor(title: string, total: number, first = 0) {
    this.#title = title;
    this.#total = total;
    this.#first = first;
    // Ctrl-C is for the command to handle, and it ends the bar in its turn.
    const options = {
      format: `${title} {bar} {value}/{total}{details}`,
      stream: process.stderr,
      hideCursor: true,
      gracefulExit: false,
    };
    this.#bar = process.stderr.isTTY ? new SingleBar({ ...options, barsize: 24 }, Presets.shades_classic) : null;
    this.#bar?.start(total, first, { details: '' });
  }

  /** `done` of the total are finished; `details` are shown beside it. */
  update(done: number, ...details: string[]): void {
    const now = performance.now();
    const seconds = (now - this.#began) / 1000;
    const left = (seconds / (done - this.#first)) * (this.#total - done);
    const time = done < this.#total ? `${duration(left)} left` : `${duration(seconds)} in all`;
    const known = done === this.#total || (done > this.#first && seconds >= settled);
    const text = [...details, ...(known ? [time] : [])].map((detail) => `  ${detail}`).join('');
    if (this.#bar) this.#bar.update(done, { details: text });
    else if (done === this.#total || now - this.#lastLine >= lineInterval) {
      this.#lastLine = now;
      console.error(`${this.#title} ${done}/${this.#total}${text}`);
    }
  }

  /** Leaves the bar as it is; a second call does nothing. */
  stop(): void {
    this.#bar?.stop();
  }

  [Symbol.dispose](): void {
    this.stop();
  }
}
