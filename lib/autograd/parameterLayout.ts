import { permute, type Tensor } from '../tensor.js';
import type { Parameter } from './parameter.js';

/** How PyTorch's order of a parameter's axes becomes the engine's: axis a of the engine's is axis `order[a]` of PyTorch's. */
const engineOrder: Record<ParameterKind, readonly number[] | null> = {
  conv: [2, 3, 1, 0], // [out, in, kh, kw] → [kh, kw, in, out]
  linear: [1, 0], // [out, in] → [in, out]
  plain: null,
};

/** Which axes a parameter has; decides its layout in memory. */
export type ParameterKind = 'conv' | 'linear' | 'plain';

/** Four axes, as `permute` wants them, with ones in front. */
function fourAxes(shape: readonly number[], order: readonly number[]): { shape: number[]; order: number[] } {
  const missing = 4 - shape.length;
  return {
    shape: [...new Array<number>(missing).fill(1), ...shape],
    order: [...new Array(missing).keys(), ...order.map((axis) => axis + missing)],
  };
}

/** The engine's shape of a parameter. @internal */
export function engineShape(shape: readonly number[], kind: ParameterKind): number[] {
  const order = engineOrder[kind];
  return order ? permute(shape, order) : [...shape];
}

/** Reads a tensor laid out like `parameter.value` (its gradient, an average) in PyTorch's layout. @internal */
export async function readParameter(parameter: Parameter, tensor: Tensor): Promise<Float32Array> {
  const order = engineOrder[parameter.kind];
  if (!order) return (await tensor.read()) as Float32Array;
  const back = order.map((_, axis) => order.indexOf(axis));
  const { device } = parameter;
  const four = fourAxes(tensor.shape, back);
  const reading = device.unscoped(() => {
    const source = tensor.alias(four.shape);
    const permuted = device.empty(permute(four.shape, four.order), 'f32');
    device.native.permute(source.handle, permuted.handle, ...four.order);
    const values = permuted.read();
    source.dispose();
    permuted.dispose();
    return values;
  });
  return (await reading) as Float32Array;
}

/** Writes PyTorch-ordered values into a tensor laid out like `parameter.value`. @internal */
export function writeParameter(parameter: Parameter, tensor: Tensor, values: Float32Array): void {
  const order = engineOrder[parameter.kind];
  if (!order) {
    tensor.write(values);
    return;
  }
  const { device } = parameter;
  device.unscoped(() => {
    const four = fourAxes(parameter.shape, order);
    const staged = device.tensor(values, four.shape);
    const target = tensor.alias(permute(four.shape, four.order));
    device.native.permute(staged.handle, target.handle, ...four.order);
    staged.dispose();
    target.dispose();
  });
  tensor.countWrite();
}
