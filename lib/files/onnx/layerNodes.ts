import type { Parameter } from '../../autograd/parameter.js';
import type { Affine } from '../../nn/blocks/weights.js';
import type { OnnxGraph, Value } from './graph.js';

/** Makes the nodes of single layers. */
export class LayerNodes {
  readonly #made = new Set<string>();

  constructor(readonly graph: OnnxGraph) {}

  /** A parameter as a constant, in PyTorch's shape or another of the same size. */
  weight(parameter: Affine['weight'], shape?: readonly number[]): Value {
    const { name, shape: own } = parameter as Parameter;
    const constant = shape ? `${name}[${shape}]` : name;
    if (this.#made.has(constant)) return constant;
    this.#made.add(constant);
    return this.graph.weight(constant, shape ?? own, () => (parameter as Parameter).read());
  }

  conv(x: Value, { weight, bias }: Affine, padding: number | readonly number[], stride = 1): Value {
    const size = (weight as Parameter).shape.slice(2);
    const pads = typeof padding === 'number' ? [padding, padding, padding, padding] : padding;
    const attributes = { kernel_shape: size, pads, strides: [stride, stride] };
    return this.graph.node('Conv', [x, this.weight(weight), this.weight(bias)], attributes);
  }

  /** y [N, out] of x [N, in]. */
  linear(x: Value, { weight, bias }: Affine): Value {
    return this.graph.node('Gemm', [x, this.weight(weight), this.weight(bias)], { transB: 1 });
  }

  /** A linear map of the channels of every pixel. */
  pointwise(x: Value, { weight, bias }: Affine): Value {
    const shape = [...(weight as Parameter).shape, 1, 1];
    return this.graph.node('Conv', [x, this.weight(weight, shape), this.weight(bias)], { kernel_shape: [1, 1] });
  }

  silu(x: Value): Value {
    return this.graph.node('Mul', [x, this.graph.node('Sigmoid', [x])]);
  }

  /** Group normalisation: an instance normalisation of groups, as opset 17 has no operator of its own. */
  norm(x: Value, { weight, bias }: Affine, groups: number, epsilon: number): Value {
    const { graph } = this;
    const rows = graph.node('Reshape', [x, graph.integers(0, groups, -1)]);
    const constant = (value: number) => graph.floats([groups], new Array<number>(groups).fill(value));
    const inputs = [rows, constant(1), constant(0)];
    const normed = graph.node('InstanceNormalization', inputs, { epsilon: { float: epsilon } });
    const image = graph.node('Reshape', [normed, graph.node('Shape', [x])]);
    const perChannel = (parameter: Affine['weight']) => {
      const [channels] = (parameter as Parameter).shape as [number];
      return this.weight(parameter, [channels, 1, 1]);
    };
    return graph.node('Add', [graph.node('Mul', [image, perChannel(weight)]), perChannel(bias)]);
  }

  /** Means of two by two pixels, or each pixel two by two. */
  halfOrTwice(x: Value, direction: 'down' | 'up'): Value {
    if (direction === 'down') return this.graph.node('AveragePool', [x], { kernel_shape: [2, 2], strides: [2, 2] });
    const scales = this.graph.floats([4], [1, 1, 2, 2]);
    return this.graph.node('Resize', [x, '', scales], nearest);
  }

  /** x divided. */
  scaled(x: Value, divisor: number): Value {
    return divisor === 1 ? x : this.graph.node('Div', [x, this.graph.scalar(divisor)]);
  }
}

/** Resize: every pixel becomes two by two. */
const nearest = { mode: 'nearest', coordinate_transformation_mode: 'asymmetric', nearest_mode: 'floor' } as const;
