import { TapeNode } from '../autograd/tape.js';
import type { Tensor } from '../tensor.js';

/**
 * The tensors [N, K_b] that lie one after another in `y`, as views of it. Their gradients come together in one tensor laid out like
 * `y`: an operation that asks `resultTarget` for memory writes its own there, any other is copied. @internal
 */
export function splitRows(y: Tensor, rows: number, widths: readonly number[]): Tensor[] {
  const { device, edge } = y;
  let all: Tensor | null = null; // dy; what no gradient comes for stays zero
  let delivered = false;
  const gathered = (): Tensor => {
    all ??= device.unscoped(() => device.zeros(y.shape));
    return all;
  };
  let offset = 0;
  return widths.map((width) => {
    const first = offset;
    offset += rows * width;
    const part = y.alias([rows, width], first);
    if (edge === null) return part;
    const view = () => gathered().alias(part.shape, first);
    let given: Tensor | null = null;
    const backward = (dy: Tensor) => {
      if (dy !== given) device.native.cast(dy.handle, view().handle);
      const result = delivered ? null : gathered();
      delivered = true;
      return [result];
    };
    part.edge = new TapeNode('splitRows', part.shape, [edge], [], backward, () => {
      if (given) return null; // a second gradient is added to the first
      given = view();
      return given;
    });
    return part;
  });
}
