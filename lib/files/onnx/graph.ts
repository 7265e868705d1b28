import { type Deferred, type Field, Message } from './protobuf.js';

/** Element types of ONNX's TensorProto. */
const elementTypes = { float: 1, int64: 7 } as const;
/** Kinds of AttributeProto. */
const attributeTypes = { float: 1, int: 2, string: 3, ints: 7 } as const;
/** Version of the standard's operators, and of its file format: what onnxruntime 1.14 and later read. */
const opset = 17;
const irVersion = 8;

/** Name of a value in the graph. */
export type Value = string;
/** An integer, a string, integers, or a float. */
export type Attribute = number | string | readonly number[] | { readonly float: number };

/** An input or output: numbers are fixed sizes, names axes of any size. */
export interface Port {
  name: Value;
  type: keyof typeof elementTypes;
  shape: readonly (number | string)[];
}

/** Collects the nodes and constants of one ONNX graph. */
export class OnnxGraph {
  readonly #nodes: Message[] = [];
  readonly #constants = new Map<string, Message>();
  #count = 0;

  /** A node with one output. */
  node(operator: string, inputs: readonly Value[], attributes: Readonly<Record<string, Attribute>> = {}): Value {
    return this.nodes(operator, inputs, 1, attributes)[0] as Value;
  }

  /** A node with several outputs. */
  nodes(
    operator: string,
    inputs: readonly Value[],
    outputs: number,
    attributes: Readonly<Record<string, Attribute>> = {},
  ): Value[] {
    const names = Array.from({ length: outputs }, () => `${operator}_${this.#count++}`);
    this.#add(operator, inputs, names, attributes);
    return names;
  }

  /** Gives a value the name of an output. */
  output(name: string, value: Value): void {
    this.#add('Identity', [value], [name], {});
  }

  #add(
    operator: string,
    inputs: readonly Value[],
    outputs: readonly Value[],
    attributes: Readonly<Record<string, Attribute>>,
  ): void {
    this.#nodes.push(
      new Message([
        ...inputs.map((name): Field => [1, name]),
        ...outputs.map((name): Field => [2, name]),
        [3, outputs[0] as string],
        [4, operator],
        ...Object.entries(attributes).map(([name, value]): Field => [5, attribute(name, value)]),
      ]),
    );
  }

  /** A float tensor under a name of its own; values may be fetched when the file is written. */
  weight(name: string, shape: readonly number[], values: Float32Array | (() => Promise<Float32Array>)): Value {
    const byteLength = 4 * shape.reduce((product, axis) => product * axis, 1);
    const bytes = typeof values === 'function' ? { byteLength, read: async () => bytesOf(await values()) } : bytesOf(values);
    this.#constants.set(name, tensor(name, 'float', shape, bytes));
    return name;
  }

  /** Integers, [n], made once for each content. */
  integers(...values: number[]): Value {
    const name = `i64_${values.join('_')}`;
    if (!this.#constants.has(name))
      this.#constants.set(name, tensor(name, 'int64', [values.length], bytesOf(BigInt64Array.from(values, BigInt))));
    return name;
  }

  /** A float without axes. */
  scalar(value: number): Value {
    return this.floats([], [value]);
  }

  /** Floats, made once for each content and shape. */
  floats(shape: readonly number[], values: readonly number[]): Value {
    const name = `f32_${shape.join('x')}_${values.join('_')}`;
    if (!this.#constants.has(name)) this.#constants.set(name, tensor(name, 'float', shape, bytesOf(Float32Array.from(values))));
    return name;
  }

  /** The whole file. */
  model(name: string, inputs: readonly Port[], outputs: readonly Port[]): Message {
    const graph = new Message([
      ...this.#nodes.map((node): Field => [1, node]),
      [2, name],
      ...[...this.#constants.values()].map((constant): Field => [5, constant]),
      ...inputs.map((one): Field => [11, port(one)]),
      ...outputs.map((one): Field => [12, port(one)]),
    ]);
    const standard: Field[] = [
      [1, ''],
      [2, opset],
    ];
    return new Message([
      [1, irVersion],
      [2, 'diffusion-native'],
      [7, graph],
      [8, new Message(standard)],
    ]);
  }
}

function attribute(name: string, value: Attribute): Message {
  const of = (type: keyof typeof attributeTypes, ...fields: Field[]) =>
    new Message([[1, name], ...fields, [20, attributeTypes[type]]]);
  if (typeof value === 'number') return of('int', [3, value]);
  if (typeof value === 'string') return of('string', [4, value]);
  if ('float' in value) return of('float', [2, value]);
  return of('ints', ...value.map((one): Field => [8, one]));
}

function tensor(name: string, type: keyof typeof elementTypes, shape: readonly number[], bytes: Uint8Array | Deferred): Message {
  return new Message([...shape.map((axis): Field => [1, axis]), [2, elementTypes[type]], [8, name], [9, bytes]]);
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array | BigInt64Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

function port({ name, type, shape }: Port): Message {
  const axes = shape.map((axis): Field => [1, new Message([typeof axis === 'number' ? [1, axis] : [2, axis]])]);
  const tensorType = new Message([
    [1, elementTypes[type]],
    [2, new Message(axes)],
  ]);
  return new Message([
    [1, name],
    [2, new Message([[1, tensorType]])],
  ]);
}
