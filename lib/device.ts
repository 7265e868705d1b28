import { randomInt } from 'node:crypto';
import * as v from 'valibot';
import type { DeviceInfo } from './deviceList.js';
import { DeviceError, DisposedError, OptionError, ShapeError } from './errors.js';
import { dtypeOf, toArray } from './hostArrays.js';
import { completion, type DataArray, type DType, dtypes, type Handle, type NativeAddon } from './native.js';
import { parseOptions } from './options.js';
import { type Program, Recorder, type RecordingNotes } from './program.js';
import { type Seed, toRng } from './random.js';
import { Scopes } from './scope.js';
import { checkDType, checkShape, type Layout, permute, sizeOf, Tensor } from './tensor.js';

const tensorSchema = v.strictObject({
  dtype: v.optional(v.unknown()),
  layout: v.optional(v.picklist(['nhwc', 'nchw'], "'nhwc' or 'nchw'")),
});
const randnSchema = v.strictObject({ seed: v.optional(v.unknown()), stream: v.optional(v.unknown()) });

interface Owned {
  device: Device;
  handle: Handle;
}

/** Frees what was forgotten: the net below `dispose`, `using` and `scope`. */
const forgotten = new FinalizationRegistry<Owned>(({ device, handle }) => device.releaseForgotten(handle));

/** Memory of a device, in bytes. */
export interface DeviceMemory {
  /** In use by tensors now. */
  usedBytes: number;
  /** In use at most, so far. */
  peakBytes: number;
  /** Held from the system. */
  reservedBytes: number;
}

/**
 * An open device: its own native thread and an ordered queue. Calls enqueue and return at once; `read`, `synchronize` and
 * `close` wait, as promises. Everything enqueued but not yet run is lost when the process exits.
 */
export class Device {
  /** What it is; `reason` says why 'auto' chose it. */
  readonly info: DeviceInfo;
  /** @internal */
  readonly native: NativeAddon;
  readonly #id: number;
  #closing: Promise<void> | null = null;
  readonly #scopes = new Scopes();
  readonly #recorder: Recorder;
  #seedState: Tensor | null = null;

  /** @internal Use `openDevice`. */
  constructor(native: NativeAddon, id: number, info: DeviceInfo) {
    this.native = native;
    this.#id = id;
    this.info = info;
    this.#recorder = new Recorder(native, id);
  }

  /** Whether what is enqueued now is recorded. @internal */
  get recording(): boolean {
    return this.#recorder.active;
  }

  /** Of the recording under way. @internal */
  get notes(): RecordingNotes | null {
    return this.#recorder.notes;
  }

  /** Whether `close` has been called. */
  get closed(): boolean {
    return this.#closing !== null;
  }

  /**
   * A tensor with these values. With `layout: 'nchw'` the given shape is the data's; the tensor's own is NHWC. Its type is that of
   * the array (f32 for numbers) unless `dtype` says otherwise.
   * @param shape one to six positive integers
   * @throws ShapeError when the data do not fit the shape; DTypeError, OptionError, OutOfMemoryError, DisposedError.
   */
  tensor(
    data: DataArray | readonly number[],
    shape: readonly number[],
    options: { dtype?: DType; layout?: Layout } = {},
  ): Tensor {
    const { dtype: asked, layout } = parseOptions('tensor', tensorSchema, options);
    if (asked !== undefined) checkDType('tensor', asked);
    checkShape('tensor', shape);
    const array = toArray('tensor', data, asked as DType | undefined);
    if (array.length !== sizeOf(shape))
      throw new ShapeError(`tensor: shape [${shape}] has ${sizeOf(shape)} elements, the data ${array.length}`);
    if (layout === 'nchw' && shape.length !== 4) throw new ShapeError(`tensor: layout 'nchw' needs four axes, got [${shape}]`);
    const own = layout === 'nchw' ? permute(shape, [0, 2, 3, 1]) : [...shape];
    const tensor = this.empty(own, (asked as DType | undefined) ?? dtypeOf(array));
    try {
      tensor.write(array, layout && { layout });
    } catch (error) {
      tensor.dispose();
      throw error;
    }
    tensor.cell.version = 0;
    return tensor;
  }

  /** A tensor of zeros, f32 unless `dtype` says otherwise. @throws ShapeError, DTypeError, OutOfMemoryError, DisposedError. */
  zeros(shape: readonly number[], options: { dtype?: DType } = {}): Tensor {
    return this.full(shape, 0, options);
  }

  /** A tensor that holds `value` everywhere, f32 unless `dtype` says otherwise. @throws As `zeros`, and OptionError. */
  full(shape: readonly number[], value: number, options: { dtype?: DType } = {}): Tensor {
    const { dtype = 'f32' } = parseOptions('full', v.strictObject({ dtype: v.optional(v.unknown()) }), options) as {
      dtype?: DType;
    };
    checkShape('full', shape);
    checkDType('full', dtype);
    if (typeof value !== 'number') throw new OptionError(`full: the value must be a number, got ${String(value)}`);
    const tensor = this.empty([...shape], dtype);
    this.native.fill(tensor.handle, value);
    return tensor;
  }

  /**
   * Standard normal values, f32: sample n is drawn by (seed, stream, n, element). Without a seed the device's own advances.
   * @throws ShapeError, OptionError, OutOfMemoryError, DisposedError.
   */
  randn(shape: readonly number[], options: { seed?: Seed; stream?: number } = {}): Tensor {
    const rng = toRng('randn', this, parseOptions('randn', randnSchema, options) as { seed?: Seed; stream?: number });
    checkShape('randn', shape);
    const tensor = this.empty([...shape], 'f32');
    this.native.randomNormal(tensor.handle, ...rng.fields);
    rng.advance();
    return tensor;
  }

  /** Uninitialised memory. @internal */
  empty(shape: readonly number[], dtype: DType): Tensor {
    return new Tensor(this, this.allocate(shape, dtype), shape, dtype);
  }

  /** The bare name of uninitialised memory, for the caller to release: half the price of a Tensor. @internal */
  allocate(shape: readonly number[], dtype: DType): Handle {
    this.#check();
    return this.native.allocate(this.#id, dtypes[dtype], ...shape);
  }

  /**
   * Runs `body`; every tensor made inside is disposed on leaving, except those that it returns (plain containers are walked).
   * @throws OptionError for an async function; what `body` throws.
   */
  scope<T>(body: () => T): T {
    return this.#scopes.run(body);
  }

  /**
   * Executes `body` once and records its operations; `program.run()` executes them again without JavaScript. Tensors made
   * inside that are still alive afterwards are overwritten by each run. Reading inside is an error.
   * @throws DeviceError within another recording; OptionError for an async function; OutOfMemoryError; what `body` throws.
   */
  record<T>(body: () => T): Program<T> {
    this.#check();
    return this.#recorder.record(this, body);
  }

  /** What `body` makes belongs to no scope; it disposes by itself. @internal */
  unscoped<T>(body: () => T): T {
    return this.#scopes.without(body);
  }

  /** What `body` allocates and enqueues is not part of a recording under way, and outlives every scope. @internal */
  outsideRecording<T>(body: () => T): T {
    return this.#recorder.pause(() => this.unscoped(body));
  }

  /** The state of the device's own random stream: i32 [4], advanced by each draw without a seed. @internal */
  seedState(): Tensor {
    this.#seedState ??= this.outsideRecording(() =>
      this.tensor(Int32Array.of(randomInt(2 ** 32) | 0, randomInt(2 ** 32) | 0, 0, 0), [4]),
    );
    return this.#seedState;
  }

  /**
   * Resolves when everything enqueued so far has run. A failed operation rejects the `read` of what it made, not this.
   * @throws DeviceError when the device itself has failed; DisposedError.
   */
  async synchronize(): Promise<void> {
    this.#check();
    await completion(this.native.synchronize(this.#id));
  }

  /** How much memory the device holds. */
  memory(): DeviceMemory {
    this.#check();
    const [usedBytes, peakBytes, reservedBytes] = this.native.memory(this.#id);
    return { usedBytes, peakBytes, reservedBytes };
  }

  /** Lets what is enqueued finish, then frees the device; its tensors become unusable. Closing twice is harmless. */
  async close(): Promise<void> {
    if (this.recording) throw new DeviceError('close: a recording is under way on this device');
    this.#closing ??= completion(this.native.synchronize(this.#id))
      .catch(() => {}) // a device that could not be opened has nothing left to finish
      .then(() => this.native.destroy(this.#id));
    return this.#closing;
  }

  #check(): void {
    if (this.#closing !== null) throw new DisposedError(`device '${this.info.id}' is closed`);
  }

  /** @internal */
  adopt(tensor: Tensor, handle: Handle): void {
    forgotten.register(tensor, { device: this, handle }, tensor);
    this.#scopes.add(tensor);
  }

  /** @internal */
  disown(tensor: Tensor, handle: Handle): void {
    forgotten.unregister(tensor);
    if (this.#closing === null) this.native.release(handle);
  }

  /** @internal */
  releaseForgotten(handle: Handle): void {
    if (this.#closing === null) this.native.release(handle);
  }
}
