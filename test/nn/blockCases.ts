import { Parameter } from '../../lib/autograd/parameter.js';
import { engineShape, type ParameterKind } from '../../lib/autograd/parameterLayout.js';
import type { Device } from '../../lib/device.js';
import { blocks } from '../../lib/index.js';
import type { Tensor } from '../../lib/tensor.js';
import type { GoldenTensor } from '../support/golden.js';

/** A block of the reference data. */
export interface BlockCase {
  id: string;
  kwargs?: {
    groups?: number;
    eps?: number;
    heads?: number;
    norm_num_groups?: number;
    output_scale_factor?: number;
    time_embedding_norm?: string;
    use_scale_shift_norm?: boolean;
    up?: boolean;
    down?: boolean;
    num_heads?: number;
    num_head_channels?: number;
    channels?: number;
    use_new_attention_order?: boolean;
  };
  params?: { name: string; shape: number[] }[];
  float32_vs_float64_noise: { zero_gradient_tensors: string[] };
}

/** The blocks' parameters by the names that their case has. */
export class BlockParameters {
  readonly made = new Map<string, Parameter>();
  /** How tensors of the case are put together from parameters: rows of one after rows of another. */
  readonly #parts = new Map<string, { parameter: Parameter; rows: number[] }[]>();

  constructor(
    readonly device: Device,
    readonly golden: (name: string) => GoldenTensor,
  ) {}

  /** A weight and a bias, of these rows where they are part of larger ones. */
  pair(name: string, rows?: number[]): { weight: Parameter; bias: Parameter } {
    return { weight: this.#one(`${name}.weight`, rows), bias: this.#one(`${name}.bias`, rows) };
  }

  make(name: string, { shape, values }: GoldenTensor): Parameter {
    const kinds: Record<number, ParameterKind> = { 1: 'plain', 2: 'linear', 4: 'conv' };
    const kind = kinds[shape.length] as ParameterKind;
    const own = engineShape(shape, kind);
    const zeros = () => this.device.unscoped(() => this.device.zeros(own)); // blocks are made inside of a scope
    const parameter = new Parameter(name, shape, kind, zeros(), zeros());
    parameter.write(values);
    this.made.set(name, parameter);
    return parameter;
  }

  #one(name: string, rows?: number[]): Parameter {
    const { shape, values } = this.golden(`param/${name}`);
    const flat = shape.length === 3 ? shape.slice(0, 2) : shape; // Conv1d of one pixel
    const all = rows ?? Array.from({ length: shape[0] as number }, (_, i) => i);
    const size = values.length / (shape[0] as number);
    const taken = Float32Array.from({ length: all.length * size }, (_, i) => {
      return values[(all[Math.floor(i / size)] as number) * size + (i % size)] as number;
    });
    const parameter = this.make(`${name} ${all[0]}`, { shape: [all.length, ...flat.slice(1)], values: taken });
    this.#parts.set(name, [...(this.#parts.get(name) ?? []), { parameter, rows: all }]);
    return parameter;
  }

  /** The gradients by the names of the case. */
  async *gradients(): AsyncGenerator<[name: string, gradient: Float32Array]> {
    for (const [name, parts] of this.#parts) {
      const { shape, values } = this.golden(`param/${name}`);
      const whole = new Float32Array(values.length).fill(Number.NaN);
      const size = values.length / (shape[0] as number);
      for (const { parameter, rows } of parts) {
        const own = await parameter.readGrad();
        for (const [i, row] of rows.entries()) whole.set(own.subarray(i * size, (i + 1) * size), row * size);
      }
      yield [name, whole];
    }
  }
}

type Run = (x: Parameter, time: Tensor | null, parameters: BlockParameters, one: BlockCase) => Tensor;

/** How the blocks of both libraries are computed, by the beginnings of their names. */
const runs: Record<string, Run> = {
  diff_resnet: (x, time, parameters, { id, params, kwargs = {} }) => {
    const [norm1, conv1, timeProjection, norm2, conv2] = ['norm1', 'conv1', 'time_emb_proj', 'norm2', 'conv2'].map((name) =>
      parameters.pair(name),
    ) as [Pair, Pair, Pair, Pair, Pair];
    const shortcut = params?.some(({ name }) => name.startsWith('conv_shortcut')) ? parameters.pair('conv_shortcut') : null;
    return blocks.residual(
      x,
      { norm1, conv1, timeProjection, norm2, conv2, shortcut },
      {
        groups: kwargs.groups as number,
        eps: kwargs.eps,
        time,
        timeEmbedding: id.endsWith('ss') ? 'scaleShift' : 'add',
        outputScale: kwargs.output_scale_factor,
        resample: kwargs.down ? 'down' : null,
      },
    );
  },
  res: (x, time, parameters, { params, kwargs = {} }) => {
    const names = ['in_layers.0', 'in_layers.2', 'emb_layers.1', 'out_layers.0', 'out_layers.3'];
    const [norm1, conv1, timeProjection, norm2, conv2] = names.map((name) => parameters.pair(name)) as [
      Pair,
      Pair,
      Pair,
      Pair,
      Pair,
    ];
    const shortcut = params?.some(({ name }) => name.startsWith('skip')) ? parameters.pair('skip_connection') : null;
    return blocks.residual(
      x,
      { norm1, conv1, timeProjection, norm2, conv2, shortcut },
      {
        groups: 32,
        time,
        timeEmbedding: kwargs.use_scale_shift_norm ? 'scaleShift' : 'add',
        resample: kwargs.down ? 'down' : kwargs.up ? 'up' : null,
      },
    );
  },
  diff_attn: (x, _time, parameters, { kwargs = {} }) => {
    const [norm, q, k, v, out] = ['group_norm', 'to_q', 'to_k', 'to_v', 'to_out.0'].map((name) => parameters.pair(name)) as [
      Pair,
      Pair,
      Pair,
      Pair,
      Pair,
    ];
    const { norm_num_groups: groups, eps, heads } = kwargs;
    return blocks.attention(x, { norm, q, k, v, out }, { groups: groups as number, eps, heads, outputScale: Math.SQRT2 });
  },
  attn: (x, _time, parameters, { kwargs = {} }) => {
    const channels = kwargs.channels as number;
    const heads = kwargs.num_heads ?? channels / (kwargs.num_head_channels as number);
    const width = channels / heads;
    const rows = (part: number) =>
      Array.from({ length: channels }, (_, i) =>
        kwargs.use_new_attention_order ? part * channels + i : (Math.floor(i / width) * 3 + part) * width + (i % width),
      );
    const [q, k, v] = [0, 1, 2].map((part) => parameters.pair('qkv', rows(part))) as [Pair, Pair, Pair];
    const [norm, out] = [parameters.pair('norm'), parameters.pair('proj_out')];
    return blocks.attention(x, { norm, q, k, v, out }, { groups: 32, heads });
  },
  down_conv: (x, _time, parameters) => blocks.down(x, parameters.pair('op')),
  diff_down: (x, _time, parameters, { id }) => blocks.down(x, parameters.pair('conv'), { padding: id.endsWith('pad0') ? 0 : 1 }),
  up_conv: (x, _time, parameters) => blocks.up(x, parameters.pair('conv')),
  diff_up: (x, _time, parameters) => blocks.up(x, parameters.pair('conv')),
  op_down: (x) => blocks.down(x, null),
  op_up: (x) => blocks.up(x, null),
};

type Pair = { weight: Parameter; bias: Parameter };

/** How a case is computed; undefined where it is not a block. */
export function runOf({ id }: BlockCase): Run | undefined {
  const name = Object.keys(runs).find((start) => id.startsWith(start));
  return name === undefined ? undefined : runs[name];
}
