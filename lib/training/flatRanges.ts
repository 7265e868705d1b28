import type { CopyPlace, Parameter } from '../autograd/parameter.js';
import { type ParameterStore, storeOf } from '../nn/parameters.js';
import type { Tensor } from '../tensor.js';

/** Parameters that follow each other in memory, as flat views of their values and gradients that the owner disposes. */
export interface FlatRange {
  readonly values: Tensor;
  readonly grads: Tensor;
  /** Where their copies in bf16 lie. */
  readonly copyPlace: CopyPlace;
  /** Each parameter with the place of its first element in the views. */
  readonly members: readonly { parameter: Parameter; firstElement: number }[];
}

/** As few ranges as cover these parameters and no other: one for all of a model that keeps them in a store. */
export function flatRanges(parameters: Iterable<Parameter>): FlatRange[] {
  const wanted = new Set(parameters);
  const stores = new Set<ParameterStore>();
  const ranges: FlatRange[] = [];
  for (const parameter of wanted) {
    const store = storeOf(parameter);
    if (store) stores.add(store);
    else {
      const { value, grad } = parameter;
      const flat = (tensor: Tensor) => tensor.alias([tensor.size]);
      const { copyPlace } = parameter;
      ranges.push({ values: flat(value), grads: flat(grad), copyPlace, members: [{ parameter, firstElement: 0 }] });
    }
  }
  for (const store of stores) ranges.push(...rangesOf(store, wanted));
  return ranges;
}

/** A store's parameters in the order of memory, cut where one is not wanted. */
function rangesOf(store: ParameterStore, wanted: ReadonlySet<Parameter>): FlatRange[] {
  const runs: { parameter: Parameter; offset: number; size: number }[][] = [];
  let open = false;
  const places = [...store.layout].map(([name, place]) => ({ ...place, parameter: store.parameters.get(name) as Parameter }));
  places.sort((a, b) => a.offset - b.offset);
  for (const place of places) {
    if (!wanted.has(place.parameter)) open = false;
    else if (open) runs.at(-1)?.push(place);
    else {
      runs.push([place]);
      open = true;
    }
  }
  return runs.map((run) => {
    const [first, last] = [run[0] as (typeof run)[0], run[run.length - 1] as (typeof run)[0]];
    const end = last === places[places.length - 1] ? store.flatValues.size : last.offset + last.size;
    const flat = (tensor: Tensor) => tensor.alias([end - first.offset], first.offset);
    const members = run.map(({ parameter, offset }) => ({ parameter, firstElement: offset - first.offset }));
    const { copyPlace } = first.parameter;
    return { values: flat(store.flatValues), grads: flat(store.flatGrads), copyPlace, members };
  });
}
