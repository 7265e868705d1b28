import type { Device } from '../device.js';
import { OptionError, ShapeError } from '../errors.js';
import { convert } from '../ops/layout.js';
import { sizeOf, type Tensor } from '../tensor.js';
import { Bf16Copy } from './bf16Copy.js';
import { begin, type ParameterOptions } from './initial.js';
import { type ParameterKind, readParameter, writeParameter } from './parameterLayout.js';

/** Where a parameter's copy in bf16 lies: within the copy of something larger, from this element on. */
export interface CopyPlace {
  readonly copy: Bf16Copy;
  readonly offset: number;
}

/**
 * A trained tensor and its gradient, both f32. `shape`, `read`, `readGrad` and `write` use PyTorch's layout, `value` and `grad` the
 * engine's.
 */
export class Parameter {
  /** As errors call it; in a model, its key in diffusers' files. */
  readonly name: string;
  /** PyTorch's shape: conv [out, in, kh, kw], linear [out, in]. */
  readonly shape: readonly number[];
  /** Which axes it has. */
  readonly kind: ParameterKind;
  /** The values in the engine's layout: conv [kh, kw, in, out], linear [in, out]. */
  readonly value: Tensor;
  readonly #makeGrad: () => Tensor;
  #grads: Tensor | null = null;
  /** The gradient counts as zero, whatever its memory holds: the next contribution overwrites. */
  #isZero = true;

  /** @internal */
  readonly copyPlace: CopyPlace;
  #copy: Tensor | null = null;

  /**
   * A parameter of one's own: `new Parameter(device, [out, in, 3, 3])`, in PyTorch's shape. It lives until the device is
   * closed.
   */
  constructor(device: Device, shape: readonly number[], options?: ParameterOptions);
  /**
   * A parameter from tensors. `value` and `grad`, f32 tensors in the engine's layout, are taken over: the optimiser and `backward`
   * write them.
   * @param shape in PyTorch's layout
   * @param grad a function makes it when it is first needed
   * @throws OptionError when both are the same memory.
   */
  constructor(name: string, shape: readonly number[], kind: ParameterKind, value: Tensor, grad: Tensor | (() => Tensor));
  /** Without a `copyPlace` the parameter has a copy of its own. @internal */
  constructor(
    name: string,
    shape: readonly number[],
    kind: ParameterKind,
    value: Tensor,
    grad: Tensor | (() => Tensor),
    copyPlace?: CopyPlace,
  );
  constructor(
    first: string | Device,
    shape: readonly number[],
    third: ParameterKind | ParameterOptions = {},
    given?: Tensor,
    grad?: Tensor | (() => Tensor),
    copyPlace?: CopyPlace,
  ) {
    const own = typeof first === 'string' ? null : begin(first, shape, third as ParameterOptions);
    const value = own?.value ?? (given as Tensor);
    this.name = own?.name ?? (first as string);
    this.shape = own ? [...shape] : shape;
    this.kind = own?.kind ?? (third as ParameterKind);
    this.value = value;
    const { device } = value;
    this.#makeGrad = own
      ? () => device.unscoped(() => device.outsideRecording(() => device.zeros(value.shape)))
      : typeof grad === 'function'
        ? grad
        : () => grad as Tensor;
    if (grad && typeof grad !== 'function') this.#checkGrad(grad);
    this.copyPlace = copyPlace ?? { copy: new Bf16Copy(value), offset: 0 };
    value.edge = this;
    if (own?.values) this.write(own.values);
  }

  /** Where its values are. */
  get device(): Device {
    return this.value.device;
  }

  /**
   * The values in the engine's layout for arithmetic in this element type: `value`, or a copy in bf16 that follows it: rounded
   * again after every write of `value`, and by AdamW in its own pass. A recorded program rounds it before it runs where that is
   * needed. Gradients with respect to the copy are the parameter's.
   */
  as(dtype: 'f32' | 'bf16'): Tensor {
    if (dtype === this.value.dtype) return this.value;
    const { copy, offset } = this.copyPlace;
    const whole = copy.refreshed();
    if (this.#copy === null) {
      this.#copy = this.device.outsideRecording(() => whole.alias(this.value.shape, offset));
      this.#copy.edge = this;
    }
    return this.#copy;
  }

  /** @internal */
  disposeViews(): void {
    this.value.dispose();
    this.#copy?.dispose();
  }

  get #grad(): Tensor {
    this.#grads ??= this.#checkGrad(this.#makeGrad());
    return this.#grads;
  }

  /** No operation may write what it reads. */
  #checkGrad(grad: Tensor): Tensor {
    if (grad.cell === this.value.cell)
      throw new OptionError(`Parameter '${this.name}': value and grad must not be the same memory`);
    return grad;
  }

  /** The gradient summed since the last `zeroGrad`, in the engine's layout. */
  get grad(): Tensor {
    if (this.#isZero) {
      this.device.native.fill(this.#grad.handle, 0);
      this.#isZero = false;
    }
    return this.#grad;
  }

  /** Forgets the gradient; no memory is touched. */
  zeroGrad(): void {
    this.#isZero = true;
  }

  /** Where an operation writes its contribution by itself; `accumulate` says whether to add or to overwrite. @internal */
  sink(): { target: Tensor; accumulate: boolean } {
    const accumulate = !this.#isZero;
    this.#isZero = false;
    return { target: this.#grad, accumulate };
  }

  /** Adds `gradient` and disposes it. @internal */
  accumulate(gradient: Tensor): void {
    const { target, accumulate } = this.sink();
    const { native } = this.device;
    if (accumulate) {
      const addend = convert(gradient, target.dtype);
      native.add(target.handle, addend.handle, target.handle);
      if (addend !== gradient) addend.dispose();
    } else native.cast(gradient.handle, target.handle);
    gradient.dispose();
  }

  /** The values, in PyTorch's layout. */
  read(): Promise<Float32Array> {
    return readParameter(this, this.value);
  }

  /** The gradient, in PyTorch's layout. */
  readGrad(): Promise<Float32Array> {
    return readParameter(this, this.grad);
  }

  /** Replaces the values, given in PyTorch's layout. */
  write(values: Float32Array): void {
    if (!(values instanceof Float32Array) || values.length !== sizeOf(this.shape))
      throw new ShapeError(
        `${this.name}: write needs a Float32Array of ${sizeOf(this.shape)} elements for shape [${this.shape}]`,
      );
    writeParameter(this, this.value, values);
  }
}
