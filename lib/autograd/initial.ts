import * as v from 'valibot';
import type { Device } from '../device.js';
import { ShapeError } from '../errors.js';
import { parseOptions } from '../options.js';
import { streams, toRng } from '../random.js';
import { checkShape, sizeOf, type Tensor } from '../tensor.js';
import { engineShape, type ParameterKind } from './parameterLayout.js';

/** Normal values of mean 0. */
export interface NormalInit {
  /** Their standard deviation. */
  readonly normal: number;
}

/** Uniform values around 0. */
export interface UniformInit {
  /** They lie within ± this. */
  readonly uniform: number;
}

/** How a parameter of one's own begins. */
export interface ParameterOptions {
  /** As errors call it; 'parameter'. */
  name?: string;
  /**
   * Which axes it has: 'conv' for four and 'linear' for two when left out, else 'plain'. A table for `ops.embedding` is 'plain'.
   */
  kind?: ParameterKind;
  /**
   * Everywhere a number; normal with a standard deviation; uniform within ± a bound; or the values, in PyTorch's layout. Left out:
   * as PyTorch's layers, uniform within ±1/√(inputs of an output) for 'conv' and 'linear', and 0 for 'plain'.
   */
  init?: number | NormalInit | UniformInit | Float32Array;
  /** Of the random numbers; the device's own stream when left out. Parameters of one seed and shape begin alike. */
  seed?: number;
}

const positive = v.pipe(v.number(), v.finite(), v.minValue(0));
const schema = v.strictObject({
  name: v.optional(v.string(), 'parameter'),
  kind: v.optional(v.picklist(['conv', 'linear', 'plain'])),
  init: v.optional(
    v.union([
      v.pipe(v.number(), v.finite()),
      v.strictObject({ normal: positive }),
      v.strictObject({ uniform: positive }),
      v.instance(Float32Array),
    ]),
  ),
  seed: v.optional(v.pipe(v.number(), v.safeInteger(), v.minValue(0))),
});

const axesOf: Record<ParameterKind, number | null> = { conv: 4, linear: 2, plain: null };

/** Name, kind and first values of a parameter; `values` are still to be written. @internal */
export interface Beginning {
  name: string;
  kind: ParameterKind;
  value: Tensor;
  values: Float32Array | null;
}

/** @internal */
export function begin(device: Device, shape: readonly number[], options: ParameterOptions): Beginning {
  const { name, init, seed, ...rest } = parseOptions('Parameter', schema, options);
  checkShape('Parameter', shape);
  const kind = rest.kind ?? (shape.length === 4 ? 'conv' : shape.length === 2 ? 'linear' : 'plain');
  const axes = axesOf[kind];
  if (axes !== null && shape.length !== axes)
    throw new ShapeError(`Parameter: option 'kind' '${kind}' is for ${axes} axes, got shape [${shape}]`);
  const size = sizeOf(shape);
  if (init instanceof Float32Array && init.length !== size)
    throw new ShapeError(`Parameter: option 'init' must hold ${size} values for shape [${shape}], got ${init.length}`);
  const usual = kind === 'plain' ? 0 : { uniform: 1 / Math.sqrt(size / (shape[0] as number)) };
  const start = init ?? usual;
  const value = device.unscoped(() =>
    device.outsideRecording(() => {
      const made = device.empty(engineShape(shape, kind), 'f32');
      if (typeof start === 'number') device.native.fill(made.handle, start);
      else if (!(start instanceof Float32Array)) drawValues(device, made, start, seed);
      return made;
    }),
  );
  return { name, kind, value, values: start instanceof Float32Array ? start : null };
}

function drawValues(device: Device, value: Tensor, start: NormalInit | UniformInit, seed: number | undefined) {
  const row = value.alias([1, value.size]); // one sample: the element counts through the parameter
  const rng = toRng('Parameter', device, { seed, stream: streams.weights });
  if ('uniform' in start) device.native.randomUniform(row.handle, -start.uniform, start.uniform, ...rng.fields);
  else {
    device.native.randomNormal(row.handle, ...rng.fields);
    device.native.scale(row.handle, row.handle, start.normal, 0);
  }
  rng.advance();
  row.dispose();
}
