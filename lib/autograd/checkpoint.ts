import type { Tensor } from '../tensor.js';
import { noGrad, Saved, TapeNode, wantsGradient, withTaping } from './tape.js';

/** A tensor to be handed to a computation a second time: with its graph behind it, and with what goes along with its contents. */
class Kept {
  readonly saved: Saved[];
  readonly #edge: Tensor['edge'];
  readonly #hasSums: boolean;

  constructor(tensor: Tensor) {
    const sums = tensor.sums?.version === tensor.cell.version ? [new Saved(tensor.sums.tensor)] : [];
    this.saved = [new Saved(tensor), ...sums];
    this.#edge = tensor.edge;
    this.#hasSums = sums.length > 0;
  }

  again(): Tensor {
    const [tensor, sums] = this.saved.map((one) => one.get('checkpoint').alias()) as [Tensor, Tensor?];
    tensor.edge = this.#edge;
    if (this.#hasSums && sums) tensor.sums = { tensor: sums, version: tensor.cell.version };
    return tensor;
  }
}

/**
 * `body(inputs)` without keeping what it computes on the way (Chen et al. 2016): `backward` runs it again, with the tape on, when it
 * gets there. Gradients are the same to the last bit, where `body` does the same both times: it may read other tensors only if
 * these are parameters, and random numbers only from seeds that are numbers or among the inputs.
 * @param guards memory that must not be written between the two runs: that of the parameters
 * @internal
 */
export function checkpoint<I extends (Tensor | null)[]>(
  inputs: I,
  guards: readonly Tensor[],
  body: (...inputs: I) => Tensor,
): Tensor {
  const { device } = inputs[0] as Tensor;
  const run = (given: I) => device.scope(() => body(...given));
  if (!wantsGradient(...inputs)) return run(inputs);
  const kept = inputs.map((input) => input && new Kept(input));
  const saved = [...kept.flatMap((one) => one?.saved ?? []), ...guards.map((guard) => new Saved(guard))];
  const again = () => {
    const copies = kept.map((one) => one?.again() ?? null);
    try {
      return withTaping(true, () => run(copies as I));
    } finally {
      for (const copy of copies) copy?.dispose();
    }
  };
  let output: Tensor;
  try {
    output = noGrad(() => run(inputs));
  } catch (error) {
    for (const one of saved) one.dispose();
    throw error;
  }
  const edges = inputs.map((input) => input?.edge ?? null);
  output.edge = new TapeNode('checkpoint', output.shape, edges, saved, null, null, again);
  return output;
}
