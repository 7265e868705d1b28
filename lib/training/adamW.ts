import * as v from 'valibot';
import { Parameter, readParameter, writeParameter } from '../autograd/parameter.js';
import type { Device } from '../device.js';
import { DeviceMismatchError, DisposedError, OptionError } from '../errors.js';
import { boolean, number, parseOptions, positive, show } from '../options.js';
import type { Tensor } from '../tensor.js';
import { type FlatRange, flatRanges } from './flatRanges.js';

/** Options of `AdamW`. */
export interface AdamWOptions {
  /** Step size, unless a step gives its own; 1e-3. */
  learningRate?: number;
  /** Decay rates of the moments; [0.9, 0.999]. */
  betas?: readonly [number, number];
  /** Added to the root of the second moment; 1e-8. */
  eps?: number;
  /** Decoupled weight decay, on all parameters; 0. */
  weightDecay?: number;
  /** Largest L2 norm of the gradient of all parameters together; longer ones are scaled down. Left out or 0: no limit. */
  gradientClip?: number;
  /** Decay of the moving average of the weights; left out: no average is kept. */
  emaDecay?: number;
  /** The decay of update n (0 the first) is min(emaDecay, (1 + n)/(10 + n)); false. */
  emaWarmup?: boolean;
}

const decay = () => {
  const text = 'a number of at least 0 and below 1';
  return v.pipe(v.number(text), v.minValue(0, text), v.ltValue(1, text));
};
const schema = v.strictObject({
  learningRate: v.optional(number(0), 1e-3),
  betas: v.optional(v.tuple([decay(), decay()], 'two numbers of at least 0 and below 1'), [0.9, 0.999]),
  eps: v.optional(positive(), 1e-8),
  weightDecay: v.optional(number(0), 0),
  gradientClip: v.optional(number(0), 0),
  emaDecay: v.optional(number(0, 1)),
  emaWarmup: v.optional(boolean(), false),
});
const stepSchema = v.strictObject({ learningRate: v.optional(number(0)) });

interface State {
  range: FlatRange;
  m: Tensor;
  v: Tensor;
  ema: Tensor | null;
}

/**
 * Adam with decoupled weight decay (Loshchilov & Hutter 2019, algorithm 2, in PyTorch's form), clipping by the global norm and
 * an exponential moving average of the weights, all in one pass over memory after the norm: two launches for a model whose
 * parameters share their memory. Where the norm is not finite nothing is written, but the step counts for the bias correction.
 */
export class AdamW {
  readonly parameters: ReadonlyMap<string, Parameter>;
  readonly device: Device;
  /** The L2 norm of the gradient of all parameters before clipping, at the last step; [1]. */
  readonly gradientNorm: Tensor;
  /** Steps taken so far, also those that changed nothing because the gradient was not finite. */
  updates = 0;
  readonly #options: v.InferOutput<typeof schema>;
  readonly #states: State[];
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
    this.#options = parseOptions('new AdamW', schema, options);
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
    const { learningRate = this.#options.learningRate } = parseOptions('AdamW.step', stepSchema, options);
    const { betas, emaDecay = 0, emaWarmup } = this.#options;
    const decay = emaWarmup ? Math.min(emaDecay, (1 + this.updates) / (10 + this.updates)) : emaDecay;
    this.updates++;
    // The operation holds the betas in f32: the correction must be of the same ones.
    const [correction1, correction2] = betas.map((beta) => 1 - Math.fround(beta) ** this.updates) as [number, number];
    const hyper = Float32Array.of(learningRate, correction1, Math.sqrt(correction2), decay);
    this.device.outsideRecording(() => this.#hyper.write(hyper));
    for (const { range } of this.#states) range.values.cell.version++;
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
      native.adamW(...handles, ema?.handle ?? 0, norm(last), this.#hyper.handle, ...constants);
    }
  }

  /** Forgets all gradients; no memory is touched. */
  zeroGrad(): void {
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

  /** The averages of each range of parameters that follow each other in memory, flat. @internal */
  averages(): Tensor[] {
    this.#check('ema');
    return this.#states.map(this.#emaOf);
  }

  /** The first or second moment of a parameter, in PyTorch's layout. @internal */
  readMoment(name: string, which: 'm' | 'v'): Promise<Float32Array> {
    return this.#readState('readMoment', name, (state) => state[which]);
  }

  /** Puts back what was read, in PyTorch's layout. @internal */
  writeState(name: string, which: 'm' | 'v' | 'ema', values: Float32Array): void {
    const { parameter, tensor } = this.#view('writeState', name, (state) =>
      which === 'ema' ? this.#emaOf(state) : state[which],
    );
    writeParameter(parameter, tensor, values);
    tensor.dispose();
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    for (const { range, m, v, ema } of this.#states)
      for (const tensor of [range.values, range.grads, m, v, ema]) tensor?.dispose();
    for (const tensor of [...this.#norms, this.#hyper, this.gradientNorm]) tensor.dispose();
  }

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

function checkParameters(parameters: unknown): ReadonlyMap<string, Parameter> {
  const owner = 'new AdamW';
  if (!(parameters instanceof Map) || parameters.size === 0)
    throw new OptionError(`${owner}: parameters must be a Map of at least one Parameter, got ${show(parameters)}`);
  let device: Device | undefined;
  for (const [name, parameter] of parameters) {
    if (!(parameter instanceof Parameter))
      throw new OptionError(`${owner}: '${name}' must be a Parameter, got ${show(parameter)}`);
    device ??= parameter.device;
    if (parameter.device !== device) throw new DeviceMismatchError(`${owner}: '${name}' is on another device than the rest`);
  }
  return parameters as Map<string, Parameter>;
}
