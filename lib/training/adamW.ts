import type { Parameter } from '../autograd/parameter.js';
import { readParameter, writeParameter } from '../autograd/parameterLayout.js';
import type { Device } from '../device.js';
import { DisposedError, OptionError } from '../errors.js';
import { show } from '../options.js';
import type { Tensor } from '../tensor.js';
import {
  type AdamWOptions,
  type CheckedAdamWOptions,
  checkAdamWOptions,
  checkParameters,
  stepLearningRate,
} from './adamWOptions.js';
import { type FlatRange, flatRanges } from './flatRanges.js';
import { UpdatedCopies } from './updatedCopies.js';

export type { AdamWOptions };

interface State {
  range: FlatRange;
  m: Tensor;
  v: Tensor;
  ema: Tensor | null;
}

/**
 * Adam with decoupled weight decay (Loshchilov & Hutter 2019, algorithm 2, in PyTorch's form), clipping by the global norm and
 * an exponential moving average of the weights and their copies in bf16, all in one pass over memory after the norm: two
 * launches for a model whose parameters share their memory. Where the norm is not finite nothing is written, but the step counts
 * for the bias correction.
 */
export class AdamW {
  /** What it trains. */
  readonly parameters: ReadonlyMap<string, Parameter>;
  /** Where they are. */
  readonly device: Device;
  /** The L2 norm of the gradient of all parameters before clipping, at the last step; [1]. */
  readonly gradientNorm: Tensor;
  /** Steps taken so far, also those that changed nothing because the gradient was not finite. */
  updates = 0;
  readonly #options: CheckedAdamWOptions;
  readonly #states: State[];
  readonly #copies: UpdatedCopies;
  readonly #places = new Map<Parameter, { state: State; firstElement: number }>();
  /** (norm, clip factor), twice: norms of several ranges are chained from one to the other, the last into the first. */
  readonly #norms: [Tensor, Tensor];
  /** (learning rate, 1 - β₁ⁿ, √(1 - β₂ⁿ), decay of the average). */
  readonly #hyper: Tensor;
  #disposed = false;

  /**
   * @param parameters `model.parameters()`, or any map of parameters on one device
   * @throws OptionError, DeviceMismatchError
   */
  constructor(parameters: ReadonlyMap<string, Parameter>, options: AdamWOptions = {}) {
    this.#options = checkAdamWOptions(options);
    this.parameters = checkParameters(parameters);
    this.device = ([...this.parameters.values()][0] as Parameter).device;
    const { device } = this;
    const like = (values: Tensor) => device.empty(values.shape, 'f32');
    const made = device.outsideRecording(() => ({
      states: flatRanges(this.parameters.values()).map((range): State => {
        const { values } = range;
        const ema = this.#options.emaDecay === undefined ? null : like(values);
        if (ema) device.native.cast(values.handle, ema.handle);
        return { range, m: device.zeros(values.shape), v: device.zeros(values.shape), ema };
      }),
      norms: [device.zeros([2]), device.zeros([2])] as [Tensor, Tensor],
      hyper: device.zeros([4]),
    }));
    this.#states = made.states;
    this.#copies = new UpdatedCopies(
      device,
      made.states.map(({ range }) => range),
    );
    this.#norms = made.norms;
    this.#hyper = made.hyper;
    this.gradientNorm = device.unscoped(() => this.#norms[0].alias([1]));
    for (const state of this.#states)
      for (const { parameter, firstElement } of state.range.members) this.#places.set(parameter, { state, firstElement });
  }

  /**
   * Updates every parameter from its gradient; parameters without one count as having zeros. Gradients stay as they are.
   * @throws OptionError inside a recording: record `enqueue()`, and call `prepare()` before each run.
   */
  step(options: { learningRate?: number } = {}): void {
    if (this.device.recording)
      throw new OptionError('AdamW.step: inside a recording use enqueue(), and call prepare() before each run of the program');
    this.prepare(options);
    this.enqueue();
  }

  /** The first half of `step`: counts the step and hands its learning rate and bias correction to the device. */
  prepare(options: { learningRate?: number } = {}): void {
    this.#check('step');
    const learningRate = stepLearningRate(options) ?? this.#options.learningRate;
    const { betas, emaDecay = 0, emaWarmup } = this.#options;
    const decay = emaWarmup ? Math.min(emaDecay, (1 + this.updates) / (10 + this.updates)) : emaDecay;
    this.updates++;
    // The operation holds the betas in f32: the correction must be of the same ones.
    const [correction1, correction2] = [1 - Math.fround(betas[0]) ** this.updates, 1 - Math.fround(betas[1]) ** this.updates];
    const hyper = Float32Array.of(learningRate, correction1, Math.sqrt(correction2), decay);
    if (this.device.recording) this.device.outsideRecording(() => this.#hyper.write(hyper));
    else this.#hyper.write(hyper);
    this.#copies.expectUpdate();
  }

  /** The second half of `step`: the operations alone, which a recording can hold. */
  enqueue(): void {
    this.#check('step');
    const { native } = this.device;
    const { betas, eps, weightDecay, gradientClip } = this.#options;
    for (const parameter of this.parameters.values()) void parameter.grad; // zeros where none has arrived
    const last = this.#states.length - 1;
    const norm = (i: number) => this.#norms[(last - i) % 2 === 0 ? 0 : 1].handle;
    this.#states.forEach(({ range }, i) => {
      native.gradientNorm(range.grads.handle, i === 0 ? 0 : norm(i - 1), norm(i), i === last ? gradientClip : 0);
    });
    for (const { range, m, v, ema } of this.#states) {
      const handles = [range.values, range.grads, m, v].map((tensor) => tensor.handle);
      const constants = [...betas, eps, weightDecay];
      native.adamW(...handles, ema?.handle ?? 0, this.#copies.handle(range), norm(last), this.#hyper.handle, ...constants);
    }
  }

  /** Forgets all gradients; no memory is touched. */
  zeroGrad(): void {
    this.#check('zeroGrad');
    for (const parameter of this.parameters.values()) parameter.zeroGrad();
  }

  /**
   * The average of a parameter, in PyTorch's layout.
   * @throws OptionError for an unknown name, or without `emaDecay`.
   */
  async ema(name: string): Promise<Float32Array> {
    const values = this.#readState('ema', name, this.#emaOf);
    return values;
  }

  readonly #emaOf = (state: State): Tensor => {
    if (!state.ema) throw new OptionError("AdamW.ema: no average is kept; give option 'emaDecay'");
    return state.ema;
  };

  /** The flat average of a model whose parameters all follow each other in memory. @internal */
  get average(): Tensor {
    this.#check('ema');
    return this.#emaOf(this.#states[0] as State);
  }

  /** The first or second moment of a parameter, in PyTorch's layout. @internal */
  readMoment(name: string, which: 'm' | 'v'): Promise<Float32Array> {
    return this.#readState('readMoment', name, (state) => state[which]);
  }

  /** Puts back what was read, in PyTorch's layout. @internal */
  writeMoment(name: string, which: 'm' | 'v', values: Float32Array): void {
    const { parameter, tensor } = this.#view('writeMoment', name, (state) => state[which]);
    writeParameter(parameter, tensor, values);
    tensor.dispose();
  }

  /** Frees moments and averages; a second call does nothing. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    for (const { range, m, v, ema } of this.#states)
      for (const tensor of [range.values, range.grads, m, v, ema]) tensor?.dispose();
    this.#copies.dispose();
    for (const tensor of [...this.#norms, this.#hyper, this.gradientNorm]) tensor.dispose();
  }

  /** For `using`: the same as `dispose`. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  #readState(operation: string, name: string, pick: (state: State) => Tensor): Promise<Float32Array> {
    const { parameter, tensor } = this.#view(operation, name, pick);
    const values = readParameter(parameter, tensor);
    tensor.dispose();
    return values;
  }

  #view(operation: string, name: string, pick: (state: State) => Tensor): { parameter: Parameter; tensor: Tensor } {
    this.#check(operation);
    const parameter = this.parameters.get(name);
    const place = parameter && this.#places.get(parameter);
    if (!place) throw new OptionError(`AdamW.${operation}: there is no parameter ${show(name)}`);
    const flat = pick(place.state);
    return { parameter, tensor: this.device.unscoped(() => flat.alias(parameter.value.shape, place.firstElement)) };
  }

  #check(operation: string): void {
    if (this.#disposed) throw new DisposedError(`AdamW.${operation} after dispose()`);
    if (this.device.closed) throw new DisposedError(`AdamW.${operation}: device '${this.device.info.id}' is closed`);
  }
}
