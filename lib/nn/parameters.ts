import { Bf16Copy } from '../autograd/bf16Copy.js';
import { Parameter } from '../autograd/parameter.js';
import { engineShape, type ParameterKind } from '../autograd/parameterLayout.js';
import type { Device } from '../device.js';
import { streams, toRng } from '../random.js';
import { sizeOf, type Tensor } from '../tensor.js';

/** How a parameter starts: everywhere a number, uniform in (−bound, bound), or standard normal. */
export type Initial = number | { uniform: number } | 'normal';

/** Asks for a parameter of PyTorch's shape. */
export type Declare = (name: string, shape: readonly number[], kind: ParameterKind, initial: Initial) => Parameter;

/** Where a parameter lies in the flat tensors, in elements. */
export interface Place {
  offset: number;
  size: number;
}

const stores = new WeakMap<Parameter, ParameterStore>();

/** The store in which a parameter lives, if any. @internal */
export function storeOf(parameter: Parameter): ParameterStore | undefined {
  return stores.get(parameter);
}

/** Parameters begin at multiples of 16 floats: 64 bytes, a cache line and the widest vector. */
const alignment = 16;

/**
 * The parameters of a model, in one flat f32 tensor of values and one of gradients, so that an optimiser is one operation. Each
 * parameter is a view; what lies between them is zero and stays so. Gradients take memory from their first use on.
 */
export class ParameterStore {
  readonly device: Device;
  /** All values, in the engine's layouts. */
  readonly flatValues: Tensor;
  /** All values in bf16, for the operations that compute in it: takes memory from its first use on. */
  readonly copy: Bf16Copy;
  readonly parameters: ReadonlyMap<string, Parameter>;
  readonly layout: ReadonlyMap<string, Place>;
  #flatGrads: Tensor | null = null;
  readonly #gradViews: Tensor[] = [];

  private constructor(
    device: Device,
    declarations: readonly Parameters<Declare>[],
    seed: number | null,
    comesFirst: (name: string) => boolean,
  ) {
    const layout = new Map(declarations.map(([name, shape]) => [name, { offset: 0, size: sizeOf(shape) }]));
    let total = 0;
    for (const first of [true, false])
      for (const [name, place] of layout)
        if (comesFirst(name) === first) {
          place.offset = total;
          total += Math.ceil(place.size / alignment) * alignment;
        }
    this.device = device;
    this.layout = layout;
    this.flatValues = device.outsideRecording(() => device.zeros([total]));
    this.copy = new Bf16Copy(this.flatValues);
    this.parameters = device.outsideRecording(
      () => new Map(declarations.map((one, index) => [one[0], this.#makeParameter(one, seed === null ? null : { seed, index })])),
    );
  }

  /**
   * Runs `network` twice: first to learn what it declares, then with the parameters in place; what it returns then is the result.
   * Initial values are a function of `seed` and the parameter's place in the order of declaration; with null all are zero.
   * In memory those that `comesFirst` names lie before the others.
   */
  static build<T>(
    device: Device,
    seed: number | null,
    network: (declare: Declare) => T,
    comesFirst: (name: string) => boolean = () => false,
  ): { store: ParameterStore; network: T } {
    const declarations: Parameters<Declare>[] = [];
    ParameterStore.visit(network, (...declaration) => declarations.push(declaration));
    const store = new ParameterStore(device, declarations, seed, comesFirst);
    return { store, network: network((name) => store.parameters.get(name) as Parameter) };
  }

  /** Calls `visit` for each parameter that `network` declares; none is made. What it throws ends the walk. */
  static visit(network: (declare: Declare) => unknown, visit: (...declaration: Parameters<Declare>) => void): void {
    network((...declaration) => {
      visit(...declaration);
      return undefined as unknown as Parameter;
    });
  }

  #makeParameter([name, shape, kind, initial]: Parameters<Declare>, random: { seed: number; index: number } | null): Parameter {
    const { device } = this;
    const place = this.layout.get(name) as Place;
    const view = (flat: Tensor) => flat.alias(engineShape(shape, kind), place.offset);
    const value = view(this.flatValues);
    if (random) {
      const row = this.flatValues.alias([1, place.size], place.offset); // one sample: the element counts through the parameter
      const rng = toRng('initialise', device, { seed: random.seed, stream: streams.weights, step: random.index });
      if (initial === 'normal') device.native.randomNormal(row.handle, ...rng.fields);
      else if (typeof initial === 'object')
        device.native.randomUniform(row.handle, -initial.uniform, initial.uniform, ...rng.fields);
      else if (initial !== 0) device.native.fill(row.handle, initial);
      row.dispose();
    }
    const makeGrad = () => {
      const grad = device.outsideRecording(() => view(this.flatGrads));
      this.#gradViews.push(grad);
      return grad;
    };
    const parameter = new Parameter(name, shape, kind, value, makeGrad, { copy: this.copy, offset: place.offset });
    stores.set(parameter, this);
    return parameter;
  }

  /** All gradients, laid out as the values. A parameter without a gradient since `zeroGrad` may hold an older one here. */
  get flatGrads(): Tensor {
    this.#flatGrads ??= this.device.outsideRecording(() => this.device.zeros(this.flatValues.shape));
    return this.#flatGrads;
  }

  /** Takes over values laid out as `flatValues`. */
  copyFrom(flat: Tensor): void {
    this.device.native.cast(flat.handle, this.flatValues.handle);
    this.flatValues.countWrite();
  }

  /** Forgets all gradients; no memory is touched. */
  zeroGrad(): void {
    for (const parameter of this.parameters.values()) parameter.zeroGrad();
  }

  dispose(): void {
    for (const parameter of this.parameters.values()) parameter.disposeViews();
    for (const view of this.#gradViews) view.dispose();
    this.flatValues.dispose();
    this.#flatGrads?.dispose();
    this.copy.dispose();
  }
}
