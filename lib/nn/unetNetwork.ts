import { type Seed, snapshotSeed } from '../random.js';
import type { Tensor } from '../tensor.js';
import { ParameterStore } from './parameters.js';
import { isTimeProjection, TimeProjections } from './timeProjections.js';
import type { Description } from './unetDescription.js';
import { embedTime, predict } from './unetForward.js';
import { labelTensor, type ModelLabels, type ModelTimesteps, timestepTensor } from './unetInputs.js';
import { type UNetLayers, unetLayers } from './unetLayers.js';

/** The layers of a network with the memory of their parameters, and how they run. @internal */
export class UNetNetwork {
  readonly store: ParameterStore;
  readonly #description: Description;
  readonly #layers: UNetLayers;
  readonly #timeProjections: TimeProjections;

  constructor(device: ParameterStore['device'], description: Description) {
    const { config, seed, zeroInit } = description;
    const layers = (declare: Parameters<typeof unetLayers>[0]) => unetLayers(declare, config, zeroInit);
    const { store, network } = ParameterStore.build(device, seed, layers, isTimeProjection);
    this.store = store;
    this.#description = description;
    this.#layers = network;
    this.#timeProjections = new TimeProjections(store, network);
  }

  /** The prediction for checked images [N, H, W, C]; with `train` dropout acts, and blocks are recomputed where the options say so. */
  forward(
    images: Tensor,
    t: ModelTimesteps,
    { labels, train, seed }: { labels?: ModelLabels | null; train?: boolean; seed?: Seed },
  ): Tensor {
    const { config, options } = this.#description;
    const { device } = images;
    const batch = images.shape[0] as number;
    const dropout = train ? config.dropout : 0;
    return device.scope(() => {
      const steps = timestepTensor(device, config, t, batch);
      const classes = labelTensor(device, config, labels, batch);
      return predict(this.#layers, config, images, {
        dtype: options.dtype ?? 'f32',
        time: this.#timeProjections.of(embedTime(this.#layers, config, steps, classes)),
        dropout,
        ...(dropout > 0 && { seed: seed ?? snapshotSeed(device) }),
        recompute: train && options.gradientCheckpointing ? this.store.flatValues : null,
      });
    });
  }

  dispose(): void {
    this.#timeProjections.dispose();
    this.store.dispose();
  }
}
