import { Slices } from '../slices.js';

/**
 * Loads the entries of a stream before they are asked for: they are begun in the order of their positions, a few at a time, and
 * handed out in that order, so that neither the number of loads at once nor how far they run ahead can be seen in the result.
 * After a failed load no other is begun; the failure is reported when its turn comes.
 */
export class LookAhead<T> {
  readonly #load: (position: number) => Promise<T>;
  readonly #workers: number;
  readonly #loads = new Map<number, Promise<T>>();
  /** Entries that are there at once would keep the event loop from turning. */
  readonly #slices = new Slices();
  #taken: number;
  #next: number;
  #limit: number;
  #running = 0;
  #stopped = false;
  #begun: (() => void) | undefined;

  /**
   * @param first position of the first entry
   * @param workers most loads at once
   */
  constructor(first: number, workers: number, load: (position: number) => Promise<T>) {
    this.#load = load;
    this.#workers = workers;
    this.#taken = first;
    this.#next = first;
    this.#limit = first;
  }

  /**
   * The next entry; entries below `limit` are loaded meanwhile.
   * @throws what the load of this entry threw; the signal's reason.
   */
  async next(limit: number, signal?: AbortSignal): Promise<T> {
    const position = this.#taken++;
    await this.#slices.next();
    this.#limit = Math.max(this.#limit, limit, position + 1);
    while (this.#running < this.#workers && this.#next < this.#limit && !this.#stopped) void this.#work();
    while (!this.#loads.has(position)) {
      const begun = new Promise<void>((resolve) => {
        this.#begun = resolve;
      });
      await untilAborted(begun, signal);
    }
    const load = this.#loads.get(position) as Promise<T>;
    this.#loads.delete(position);
    return untilAborted(load, signal);
  }

  /** Begins no further loads. */
  stop(): void {
    this.#stopped = true;
    this.#loads.clear();
  }

  async #work(): Promise<void> {
    this.#running++;
    while (!this.#stopped && this.#next < this.#limit) {
      const position = this.#next++;
      const load = this.#load(position);
      this.#loads.set(position, load);
      this.#begun?.();
      await load.catch(() => {
        this.#stopped = true;
      });
      await this.#slices.next();
    }
    this.#running--;
  }
}

/** What the promise gives, unless the signal is aborted before. */
async function untilAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  promise.catch(() => {}); // after an abort nobody asks
  signal.throwIfAborted();
  let abort = () => {};
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
