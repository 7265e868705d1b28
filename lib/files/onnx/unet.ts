import type { Parameter } from '../../autograd/parameter.js';
import type { Affine } from '../../nn/blocks/weights.js';
import { timeWidthOf, type UNet2DConfig } from '../../nn/unetConfig.js';
import type { AttentionLayer, Block, Resampler, ResidualLayer, UNetLayers } from '../../nn/unetLayers.js';
import { OnnxGraph, type Value } from './graph.js';
import { LayerNodes } from './layerNodes.js';
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
class UNetBuilder extends LayerNodes {
  constructor(
    graph: OnnxGraph,
    readonly config: UNet2DConfig,
  ) {
    super(graph);
  }

  predict(layers: UNetLayers): Value {
    const { graph, config } = this;
    const time = this.silu(embedTime(this, config, layers));
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

  #resize(x: Value, resample: Resampler, direction: 'down' | 'up', time: Value): Value {
    if (resample.kind === 'resBlock') return this.#residual(x, resample.layer, time);
    if (resample.kind === 'pool') return this.halfOrTwice(x, direction);
    if (direction === 'up') return this.conv(this.halfOrTwice(x, 'up'), resample.weights, 1);
    return this.conv(x, resample.weights, this.config.downsample_padding === 1 ? 1 : [0, 0, 1, 1], 2);
  }

  #residual(x: Value, { weights, options }: ResidualLayer, time: Value): Value {
    const { graph } = this;
    const { norm1, conv1, timeProjection, norm2, conv2, shortcut } = weights;
    const { groups, eps = 1e-5, timeEmbedding, outputScale = 1 } = options;
    const projection = this.linear(time, timeProjection as Affine);
    const perPixel = (value: Value) => graph.node('Unsqueeze', [value, graph.integers(2, 3)]);
    const resized = (value: Value) => (options.resample ? this.halfOrTwice(value, options.resample) : value);
    let hidden = this.conv(resized(this.silu(this.norm(x, norm1, groups, eps))), conv1, 1);
    if (timeEmbedding === 'scaleShift') {
      const [scale, shift] = graph.nodes('Split', [perPixel(projection)], 2, { axis: 1 }) as [Value, Value];
      const factor = graph.node('Add', [scale, graph.scalar(1)]);
      hidden = graph.node('Add', [graph.node('Mul', [this.norm(hidden, norm2, groups, eps), factor]), shift]);
    } else hidden = this.norm(graph.node('Add', [hidden, perPixel(projection)]), norm2, groups, eps);
    const input = resized(x);
    const base = shortcut ? this.conv(input, shortcut, 0) : input;
    return this.scaled(graph.node('Add', [base, this.conv(this.silu(hidden), conv2, 1)]), outputScale);
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
    return this.scaled(graph.node('Add', [x, this.pointwise(image, out)]), outputScale);
  }
}
