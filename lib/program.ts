import type { Bf16Copy } from './autograd/bf16Copy.js';
import type { Device } from './device.js';
import { DeviceError, DisposedError, OptionError } from './errors.js';
import type { DType, NativeAddon } from './native.js';
import { checkFunction } from './options.js';
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

/** One command of a program, and what it takes of a device at least. The names are the engine's: a function of `ops` may be several. */
export interface ProgramCommand {
  /** The operation: 'conv2d', 'groupNormBackward', …; or 'upload' (data that was recorded) or 'copy' (results that stay in use). */
  readonly name: string;
  /** Element type of the first operand that holds floats, else of the first; 'u8' for 'upload' and 'copy'. */
  readonly dtype: DType;
  /** Operands that are only read → those that are written, in the engine's order: '2×8×8×3, 3×3×3×5 → 2×8×8×5'. */
  readonly shapes: string;
  /**
   * Two for each multiplication with its addition of a convolution, linear map or attention, as its definition says: taps in the padding
   * count, and an enlarged image counts as enlarged. The backward pass of attention counts five products, one of which computes the
   * scores anew. Every other operation counts 0: memory bounds it.
   */
  readonly flops: number;
  /**
   * Operands read or written once, those updated in place twice; of tables that are looked up, the rows in use. Nothing is taken to stay
   * near the processor from one command to the next, and temporary memory does not count.
   */
  readonly bytes: number;
}

/** A recorded list of operations. Keeps everything that it touches until `dispose()`. */
export class Program<T = unknown> {
  /** Where it was recorded and runs. */
  readonly device: Device;
  /** What the recorded function returned; tensors in it hold the values of the last run. */
  readonly result: T;
  #id: number;
  readonly #notes: RecordingNotes;
  #commands: readonly ProgramCommand[] | null = null;

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

  /**
   * What a run executes, in its order; what brings copies of weights up to date before it is not among them. Made when first asked for.
   * @throws DisposedError when first asked for after `dispose()`, or once the device is closed.
   */
  get commands(): readonly ProgramCommand[] {
    if (this.#commands) return this.#commands;
    if (this.#id === 0) throw new DisposedError('program: commands after dispose()');
    if (this.device.closed) throw new DisposedError(`program: device '${this.device.info.id}' is closed`);
    this.#commands = this.device.native.programWork(this.#id);
    return this.#commands;
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

/** The recording under way on a device, if any. @internal */
export class Recorder {
  readonly #native: NativeAddon;
  readonly #device: number;
  /** Whether what is enqueued now is recorded. */
  active = false;
  /** Of the recording under way, paused or not. */
  notes: RecordingNotes | null = null;

  constructor(native: NativeAddon, device: number) {
    this.#native = native;
    this.#device = device;
  }

  /** Executes `body` once and records what it enqueues. */
  record<T>(device: Device, body: () => T): Program<T> {
    checkFunction('record', body);
    if (this.active) throw new DeviceError('record: a recording is already under way on this device');
    this.#native.beginRecording(this.#device);
    this.active = true;
    const notes = new RecordingNotes();
    this.notes = notes;
    try {
      const result = body();
      if (result instanceof Promise) {
        result.catch(() => {});
        throw new OptionError('record: the function must not be async');
      }
      this.active = false;
      return new Program(device, this.#native.endRecording(this.#device), result, notes);
    } catch (error) {
      if (this.active) {
        this.active = false;
        this.#native.abandonRecording(this.#device);
      }
      throw error;
    } finally {
      this.notes = null;
    }
  }

  /** What `body` enqueues is executed only once. */
  pause<T>(body: () => T): T {
    if (!this.active) return body();
    this.#native.pauseRecording(this.#device);
    this.active = false;
    try {
      return body();
    } finally {
      this.active = true;
      this.#native.resumeRecording(this.#device);
    }
  }
}
