import type { Parameter } from '../autograd/parameter.js';
import { type LinearGroup, linearGroup } from '../ops/linearGroup.js';
import type { Tensor } from '../tensor.js';
import type { ParameterStore, Place } from './parameters.js';
import type { ResidualLayer, UNetLayers } from './unetLayers.js';

/** Whether a parameter belongs to the projection of the time embedding for a residual block. @internal */
export function isTimeProjection(name: string): boolean {
  return name.includes('.time_emb_proj.');
}

/** The projections of the time embedding for all residual blocks of a network, as one operation. @internal */
export class TimeProjections {
  readonly #layers: readonly ResidualLayer[];
  readonly #group: LinearGroup;

  /** The store keeps what `isTimeProjection` names side by side. */
  constructor(store: ParameterStore, layers: UNetLayers) {
    const { device, flatValues } = store;
    const blocks = [...layers.down, ...layers.up].flatMap(({ blocks, resample }) => [
      ...blocks.map((block) => block.residual),
      ...(resample?.kind === 'resBlock' ? [resample.layer] : []),
    ]);
    const { middle } = layers;
    this.#layers = middle ? [...blocks, middle.first, middle.last] : blocks;
    const maps = this.#layers.map(({ weights: { timeProjection } }) => timeProjection as { weight: Parameter; bias: Parameter });
    const placeOf = ({ name }: Parameter) => store.layout.get(name) as Place;
    const places = maps.flatMap(({ weight, bias }) => [placeOf(weight), placeOf(bias)]);
    const start = Math.min(...places.map(({ offset }) => offset));
    const size = Math.max(...places.map((place) => place.offset + place.size)) - start;
    const table = maps.flatMap(({ weight, bias }) => [
      placeOf(weight).offset - start,
      placeOf(bias).offset - start,
      weight.value.shape[1] as number,
    ]);
    this.#group = device.outsideRecording(() => ({
      values: flatValues.alias([size], start),
      grads: () => store.flatGrads.alias([size], start),
      places: device.tensor(Int32Array.from(table), [maps.length, 3]),
      maps,
    }));
  }

  /** Of the activated time embedding [N, D]: for each residual block [N, K] or [N, 2K]. */
  of(time: Tensor): ReadonlyMap<ResidualLayer, Tensor> {
    const projected = linearGroup(time, this.#group);
    return new Map(this.#layers.map((layer, i) => [layer, projected[i] as Tensor]));
  }

  dispose(): void {
    this.#group.values.dispose();
    this.#group.places.dispose();
  }
}
