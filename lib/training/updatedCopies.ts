import type { Device } from '../device.js';
import type { Tensor } from '../tensor.js';
import type { FlatRange } from './flatRanges.js';

/** The copies in bf16 of an optimiser's parameters, which the update writes in its own pass once they exist. */
export class UpdatedCopies {
  readonly #device: Device;
  readonly #ranges: readonly FlatRange[];
  readonly #views = new Map<FlatRange, Tensor>();
  /** There is a recording of the update that leaves a copy as it is. */
  #recordedWithout = false;

  constructor(device: Device, ranges: readonly FlatRange[]) {
    this.#device = device;
    this.#ranges = ranges;
  }

  /** Counts the write that is to come, of the values and of their copies. */
  expectUpdate(): void {
    const refresh = () => {
      for (const { copyPlace } of this.#ranges) copyPlace.copy.refresh();
    };
    if (this.#device.recording) this.#device.outsideRecording(refresh);
    else refresh(); // what the update does not reach must be right already
    for (const { values } of this.#ranges) values.cell.version++;
    if (this.#recordedWithout) return;
    for (const range of this.#ranges) if (this.#view(range)) range.copyPlace.copy.markFresh();
  }

  /** Where the update enqueued now writes the copy of a range; 0: nowhere. */
  handle(range: FlatRange): number {
    const view = this.#view(range);
    if (!view && this.#device.recording) this.#recordedWithout = true;
    return view?.handle ?? 0;
  }

  #view(range: FlatRange): Tensor | undefined {
    const whole = range.copyPlace.copy.memory;
    const known = this.#views.get(range);
    if (known || !whole || !this.#device.info.bf16) return known;
    const view = this.#device.outsideRecording(() => whole.alias(range.values.shape, range.copyPlace.offset));
    this.#views.set(range, view);
    return view;
  }

  dispose(): void {
    for (const view of this.#views.values()) view.dispose();
  }
}
