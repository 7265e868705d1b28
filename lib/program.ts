import type { Bf16Copy } from './autograd/bf16Copy.js';
import type { Device } from './device.js';
import { DisposedError } from './errors.js';
import type { Cell } from './tensor.js';

const forgotten = new FinalizationRegistry<{ device: Device; id: number }>(({ device, id }) => {
  if (!device.closed) device.native.releaseProgram(id);
});

/** What a recording touches that is known here by more than its memory; noted while it is made. @internal */
export class RecordingNotes {
  /** Copies of weights that it reads. */
  readonly copiesRead = new Set<Bf16Copy>();
  /** Memory that it writes in place. */
  readonly cellsWritten = new Set<Cell>();
}

/** A recorded list of operations. Keeps everything that it touches until `dispose()`. */
export class Program<T = unknown> {
  /** Where it was recorded and runs. */
  readonly device: Device;
  /** What the recorded function returned; tensors in it hold the values of the last run. */
  readonly result: T;
  #id: number;
  readonly #notes: RecordingNotes;

  /** @internal Use `device.record`. */
  constructor(device: Device, id: number, result: T, notes: RecordingNotes) {
    this.device = device;
    this.#id = id;
    this.#notes = notes;
    this.result = result;
    forgotten.register(this, { device, id }, this);
  }

  /** Enqueues all of it again, on the tensors it was recorded with, and before it what brings copies of weights up to date. */
  run(): void {
    if (this.#id === 0) throw new DisposedError('program: run() after dispose()');
    if (this.device.closed) throw new DisposedError(`program: device '${this.device.info.id}' is closed`);
    for (const copy of this.#notes.copiesRead) copy.refresh();
    this.device.native.runProgram(this.#id);
    for (const cell of this.#notes.cellsWritten) cell.version++;
  }

  /** Lets go of all that it touches; a second call does nothing. */
  dispose(): void {
    if (this.#id === 0) return;
    forgotten.unregister(this);
    if (!this.device.closed) this.device.native.releaseProgram(this.#id);
    this.#id = 0;
  }

  /** For `using`: the same as `dispose`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}
