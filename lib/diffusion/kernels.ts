import type { Rng } from '../random.js';
import type { Tensor } from '../tensor.js';
import type { Prediction } from './tables.js';

/** Numbers of native/core/ops/process.h. */
const targets: Record<Prediction, number> = { epsilon: 0, sample: 1, v: 2 };

/** Inputs of `applyNoising`, checked. */
export interface NoisingInputs {
  /** f32, or u8 that becomes x/127.5 - 1. */
  x0: Tensor;
  /** i32 [N], rows of `table` [T, 2]. */
  t: Tensor;
  table: Tensor;
  noise: Tensor | null;
  rng: Rng;
  /** Mirror a sample left-right where the generator's next stream says so; needs [N, H, W, C]. */
  flip: boolean;
}

/** xt = a·x0 + b·ε with (a, b) = table[t], normalisation, mirroring and drawing in one pass over memory; also ε if it is kept. */
export function applyNoising(inputs: NoisingInputs & { keepNoise: true }): { xt: Tensor; noise: Tensor };
/** The same, with what a network should predict. */
export function applyNoising(inputs: NoisingInputs & { target: Prediction }): { xt: Tensor; target: Tensor };
export function applyNoising(inputs: NoisingInputs): { xt: Tensor };
export function applyNoising({
  x0,
  t,
  table,
  noise,
  rng,
  flip,
  keepNoise,
  target,
}: NoisingInputs & { keepNoise?: boolean; target?: Prediction }): { xt: Tensor; noise?: Tensor; target?: Tensor } {
  const { device, shape } = x0;
  const image = () => device.empty(shape, 'f32');
  const made = { xt: image(), ...(keepNoise && { noise: image() }), ...(target && { target: image() }) };
  device.native.noising(
    x0.handle,
    t.handle,
    table.handle,
    noise?.handle ?? 0,
    made.xt.handle,
    made.noise?.handle ?? 0,
    made.target?.handle ?? 0,
    targets[target ?? 'epsilon'],
    flip,
    ...rng.fields,
  );
  rng.advance();
  return made;
}

/** y = a·x + b·z with (a, b) = table[t]; without z only a·x. */
export function blend(x: Tensor, z: Tensor | null, t: Tensor, table: Tensor): Tensor {
  const y = x.device.empty(x.shape, 'f32');
  x.device.native.blend(x.handle, z?.handle ?? 0, t.handle, table.handle, y.handle);
  return y;
}

/** table[t], [N]. */
export function gather(table: Tensor, t: Tensor): Tensor {
  const picked = table.device.empty(t.shape, table.dtype);
  table.device.native.gather(table.handle, t.handle, picked.handle);
  return picked;
}

/** Inputs of `reverseStep`, checked: the model's output and x_t, a row of `table` a sample, and the bound of x_0 (0: none). */
export interface ReverseInputs {
  output: Tensor;
  xt: Tensor;
  t: Tensor;
  table: Tensor;
  clip: number;
  noise: Tensor | null;
  rng: Rng;
}

/** One reverse step by its row of coefficients (`reverseTable`), and the x_0 predicted on the way. */
export function reverseStep({ output, xt, t, table, clip, noise, rng }: ReverseInputs): { sample: Tensor; predXStart: Tensor } {
  const { device, shape } = xt;
  const sample = device.empty(shape, 'f32');
  const predXStart = device.empty(shape, 'f32');
  device.native.reverseStep(
    output.handle,
    xt.handle,
    0,
    0,
    t.handle,
    table.handle,
    noise?.handle ?? 0,
    sample.handle,
    predXStart.handle,
    clip,
    ...rng.fields,
  );
  rng.advance();
  return { sample, predXStart };
}
