import { Tensor } from '../tensor.js';

/**
 * A tensor rounded to bf16, in memory that is made on first use. Original and copy count writes together: the one's `cell.version`
 * is the other's, so that a graph that saved the copy notices when the original is written.
 */
export class Bf16Copy {
  readonly #original: Tensor;
  #copy: Tensor | null = null;
  /** The original's version that the copy holds. */
  #version = -1;

  constructor(original: Tensor) {
    this.#original = original;
  }

  /** The memory, whatever it holds; null before the first use. */
  get memory(): Tensor | null {
    return this.#copy;
  }

  /**
   * The copy as the original is now: rounded again if that was written since the last time. A recording rounds by itself what it
   * has written by itself; otherwise the copy is seen to before each of its runs, and rounded only where that is needed.
   */
  refreshed(): Tensor {
    const { device, shape, cell } = this.#original;
    this.#copy ??= device.outsideRecording(() => new Tensor(device, device.allocate(shape, 'bf16'), shape, 'bf16', cell));
    const copy = this.#copy;
    device.notes?.copiesRead.add(this);
    if (this.#version !== cell.version) {
      const round = () => device.native.cast(this.#original.handle, copy.handle);
      if (device.notes?.cellsWritten.has(cell)) round();
      else device.outsideRecording(round);
      this.#version = cell.version;
    }
    return copy;
  }

  /** `refreshed` where there is a copy, and the original still is. */
  refresh(): void {
    if (this.#copy && !this.#copy.disposed && !this.#original.disposed) this.refreshed();
  }

  /** Whoever wrote the original has written the copy too. */
  markFresh(): void {
    this.#version = this.#original.cell.version;
  }

  dispose(): void {
    this.#copy?.dispose();
  }
}
