import type { Device } from '../device.js';
import { DisposedError } from '../errors.js';
import type { Tensor } from '../tensor.js';

/** How many tables are kept; a process has a dozen, but there is one for every `eta`. */
const most = 32;

/**
 * Coefficient tables on a device, by name: each made on first use, outside of recordings and scopes, and kept until `dispose()`, or
 * until it is the one of many that was not used for longest.
 */
export class DeviceTables {
  readonly #owner: string;
  readonly #device: Device;
  readonly #tables = new Map<string, Tensor>();
  #disposed = false;

  /** `owner` is named in errors. */
  constructor(owner: string, device: Device) {
    this.#owner = owner;
    this.#device = device;
  }

  get disposed(): boolean {
    return this.#disposed;
  }

  /**
   * The table of this name, [values.length / columns, columns], or [values.length] for one column; float64 is rounded to f32.
   * @throws DisposedError after `dispose()`.
   */
  get(name: string, columns: number, values: () => Float64Array | Float32Array | Int32Array): Tensor {
    this.check();
    const known = this.#tables.get(name);
    if (known) {
      this.#tables.delete(name);
      this.#tables.set(name, known); // the map's order is that of the last use
      return known;
    }
    const made = values();
    const data = made instanceof Float64Array ? Float32Array.from(made) : made;
    const shape = columns === 1 ? [data.length] : [data.length / columns, columns];
    const table = this.#device.outsideRecording(() => this.#device.tensor(data, shape));
    this.#tables.set(name, table);
    const [oldest] = this.#tables;
    if (oldest && this.#tables.size > most) {
      oldest[1].dispose();
      this.#tables.delete(oldest[0]);
    }
    return table;
  }

  /** Throws DisposedError after `dispose()`. */
  check(): void {
    if (this.#disposed) throw new DisposedError(`${this.#owner} was used after dispose()`);
  }

  /** Frees the tables; a second call does nothing. */
  dispose(): void {
    this.#disposed = true;
    for (const table of this.#tables.values()) table.dispose();
    this.#tables.clear();
  }
}
