import { Parameter } from '../../autograd/parameter.js';
import type { TimeEmbeddingWeights } from '../../nn/blocks/timeEmbedding.js';
import type { UNet2DConfig } from '../../nn/unetConfig.js';
import type { UNetLayers } from '../../nn/unetLayers.js';
import type { OnnxGraph, Value } from './graph.js';
import type { LayerNodes } from './layerNodes.js';

/** Names of the graph's inputs and output, as diffusers' exporter calls them. */
export const ports = { sample: 'sample', timestep: 'timestep', labels: 'class_labels', output: 'out_sample' } as const;

/** The embedding of the step and the class, [N, D]. */
export function embedTime(
  nodes: LayerNodes,
  config: UNet2DConfig,
  { timeTable, timeEmbedding, classEmbedding }: UNetLayers,
): Value {
  const { graph } = nodes;
  const features = (port: Value) =>
    timeTable ? graph.node('Gather', [nodes.weight(timeTable), port]) : sinusoids(graph, config, port);
  const maps = ({ linear1, linear2 }: TimeEmbeddingWeights, port: Value) =>
    nodes.linear(nodes.silu(nodes.linear(features(port), linear1)), linear2);
  const time = maps(timeEmbedding, ports.timestep);
  if (config.class_embed_type === 'identity') return graph.node('Add', [time, ports.labels]);
  if (!classEmbedding) return time;
  if (!(classEmbedding instanceof Parameter)) return graph.node('Add', [time, maps(classEmbedding, ports.labels)]);
  // Label −1, no class, counts from the end: a row of zeros there.
  const [classes, width] = classEmbedding.shape as [number, number];
  const table = graph.weight(classEmbedding.name, [classes + 1, width], async () => {
    const rows = new Float32Array((classes + 1) * width);
    rows.set(await classEmbedding.read());
    return rows;
  });
  return graph.node('Add', [time, graph.node('Gather', [table, ports.labels])]);
}

function sinusoids(graph: OnnxGraph, config: UNet2DConfig, port: Value): Value {
  const channels = config.time_proj_dim ?? (config.block_out_channels[0] as number);
  const half = Math.floor(channels / 2);
  const frequency = (i: number) => Math.exp((-Math.log(10000) * i) / (half - config.freq_shift));
  const frequencies = graph.weight(
    port === ports.timestep ? 'frequencies' : `frequencies of ${port}`,
    [1, half],
    Float32Array.from({ length: half }, (_, i) => frequency(i)),
  );
  const steps = graph.node('Unsqueeze', [graph.node('Cast', [port], { to: 1 }), graph.integers(1)]);
  const angles = graph.node('Mul', [steps, frequencies]);
  const waves = config.flip_sin_to_cos ? ['Cos', 'Sin'] : ['Sin', 'Cos'];
  const all = graph.node(
    'Concat',
    waves.map((wave) => graph.node(wave, [angles])),
    { axis: 1 },
  );
  return channels % 2 === 1 ? graph.node('Pad', [all, graph.integers(0, 0, 0, 1)]) : all;
}
