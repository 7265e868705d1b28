import type { Parameter } from '../../autograd/parameter.js';
import type { Affine } from '../../nn/blocks/weights.js';
import { timeWidthOf, type UNet2DConfig } from '../../nn/unetConfig.js';
import type { AttentionLayer, Block, Resampler, ResidualLayer, UNetLayers } from '../../nn/unetLayers.js';
import { OnnxGraph, type Value } from './graph.js';
import type { Message } from './protobuf.js';
import { embedTime, ports } from './unetTime.js';

export { ports } from './unetTime.js';

/**
 * The prediction of a UNet as a graph of standard operators, in ONNX's NCHW: sample [N, C, H, W] f32 and timestep [N] i64 (and
 * class_labels where it takes labels: [N] i64, or their embeddings [N, D] f32) → out_sample [N, K, H, W]. Batch, height and width
 * stay open. Weights are read when the message is written.
 */
export function unetGraph(layers: UNetLayers, config: UNet2DConfig): Message {
  const graph = new OnnxGraph();
  const builder = new UNetBuilder(graph, config);
  graph.output(ports.output, builder.predict(layers));
  const image = (channels: number) => ['batch', channels, 'height', 'width'];
  const labels =
    config.class_embed_type === 'identity'
      ? [{ name: ports.labels, type: 'float', shape: ['batch', timeWidthOf(config)] } as const]
      : layers.classEmbedding
        ? [{ name: ports.labels, type: 'int64', shape: ['batch'] } as const]
        : [];
  return graph.model(
    'UNet2DModel',
    [
      { name: ports.sample, type: 'float', shape: image(config.in_channels) },
      { name: ports.timestep, type: 'int64', shape: ['batch'] },
      ...labels,
    ],
    [{ name: ports.output, type: 'float', shape: image(config.out_channels) }],
  );
}

/** Makes the nodes of a network. */
export class UNetBuilder {
  readonly #made = new Set<string>();

  constructor(
    readonly graph: OnnxGraph,
    readonly config: UNet2DConfig,
  ) {}

  predict(layers: UNetLayers): Value {
    const { graph, config } = this;
    const time = this.silu(embedTime(this, layers));
    const resnet = (x: Value, layer: ResidualLayer) => this.#residual(x, layer, time);
    const attend = (x: Value, layer: AttentionLayer | null) => (layer ? this.#attention(x, layer) : x);
    const run = (x: Value, { residual, attention }: Block) => attend(resnet(x, residual), attention);

    const doubled = () => graph.node('Mul', [ports.sample, graph.scalar(2)]);
    const input = config.center_input_sample ? graph.node('Sub', [doubled(), graph.scalar(1)]) : ports.sample;
    let x = this.conv(input, layers.convIn, 1);
    const skips = [x];
    for (const { blocks, resample } of layers.down) {
      for (const block of blocks) {
        x = run(x, block);
        skips.push(x);
      }
      if (!resample) continue;
      x = this.#resize(x, resample, 'down', time);
      skips.push(x);
    }
    const { middle } = layers;
    if (middle) x = resnet(attend(resnet(x, middle.first), middle.attention), middle.last);
    for (const { blocks, resample } of layers.up) {
      for (const block of blocks) x = run(graph.node('Concat', [x, skips.pop() as Value], { axis: 1 }), block);
      if (resample) x = this.#resize(x, resample, 'up', time);
    }
    const normed = this.silu(this.norm(x, layers.normOut, config.norm_num_groups, config.norm_eps));
    return this.conv(normed, layers.convOut, 1);
  }

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

  #resize(x: Value, resample: Resampler, direction: 'down' | 'up', time: Value): Value {
    if (resample.kind === 'resBlock') return this.#residual(x, resample.layer, time);
    if (resample.kind === 'pool') return this.#halfOrTwice(x, direction);
    if (direction === 'up') return this.conv(this.#halfOrTwice(x, 'up'), resample.weights, 1);
    return this.conv(x, resample.weights, this.config.downsample_padding === 1 ? 1 : [0, 0, 1, 1], 2);
  }

  #residual(x: Value, { weights, options }: ResidualLayer, time: Value): Value {
    const { graph } = this;
    const { norm1, conv1, timeProjection, norm2, conv2, shortcut } = weights;
    const { groups, eps = 1e-5, timeEmbedding, outputScale = 1 } = options;
    const projection = this.linear(time, timeProjection as Affine);
    const perPixel = (value: Value) => graph.node('Unsqueeze', [value, graph.integers(2, 3)]);
    const resized = (value: Value) => (options.resample ? this.#halfOrTwice(value, options.resample) : value);
    let hidden = this.conv(resized(this.silu(this.norm(x, norm1, groups, eps))), conv1, 1);
    if (timeEmbedding === 'scaleShift') {
      const [scale, shift] = graph.nodes('Split', [perPixel(projection)], 2, { axis: 1 }) as [Value, Value];
      const factor = graph.node('Add', [scale, graph.scalar(1)]);
      hidden = graph.node('Add', [graph.node('Mul', [this.norm(hidden, norm2, groups, eps), factor]), shift]);
    } else hidden = this.norm(graph.node('Add', [hidden, perPixel(projection)]), norm2, groups, eps);
    const input = resized(x);
    const base = shortcut ? this.conv(input, shortcut, 0) : input;
    return this.#scaled(graph.node('Add', [base, this.conv(this.silu(hidden), conv2, 1)]), outputScale);
  }

  #attention(x: Value, { weights, options }: AttentionLayer): Value {
    const { graph } = this;
    const { norm, q, k, v, out } = weights;
    const { groups, eps = 1e-5, heads = 1, outputScale = 1 } = options;
    const z = norm ? this.norm(x, norm, groups, eps) : x;
    const channels = ((q.weight as Parameter).shape[0] as number) / heads;
    const split = (affine: Affine) => graph.node('Reshape', [this.pointwise(z, affine), graph.integers(0, heads, channels, -1)]); // [N, heads, D, L]
    const swap = (value: Value) => graph.node('Transpose', [value], { perm: [0, 1, 3, 2] });
    const scores = graph.node('MatMul', [swap(split(q)), split(k)]);
    const scaled = graph.node('Mul', [scores, graph.scalar(1 / Math.sqrt(channels))]);
    const mixed = graph.node('MatMul', [split(v), swap(graph.node('Softmax', [scaled], { axis: -1 }))]);
    const size = graph.node('Shape', [x], { start: 2 });
    const shape = graph.node('Concat', [graph.integers(0, heads * channels), size], { axis: 0 });
    const image = graph.node('Reshape', [mixed, shape]);
    return this.#scaled(graph.node('Add', [x, this.pointwise(image, out)]), outputScale);
  }

  #halfOrTwice(x: Value, direction: 'down' | 'up'): Value {
    if (direction === 'down') return this.graph.node('AveragePool', [x], { kernel_shape: [2, 2], strides: [2, 2] });
    const scales = this.graph.floats([4], [1, 1, 2, 2]);
    return this.graph.node('Resize', [x, '', scales], nearest);
  }

  #scaled(x: Value, divisor: number): Value {
    return divisor === 1 ? x : this.graph.node('Div', [x, this.graph.scalar(divisor)]);
  }
}

/** Resize: every pixel becomes two by two. */
const nearest = { mode: 'nearest', coordinate_transformation_mode: 'asymmetric', nearest_mode: 'floor' } as const;
