import type { Device } from '../device.js';
import { type Rng, type RngOptions, snapshotSeed, toRng } from '../random.js';
import { Tensor } from '../tensor.js';

/** Random numbers that a backward pass draws a second time. */
export interface Draw {
  /** For the native operation. */
  readonly fields: Rng['fields'];
  /** The seed tensor that the backward pass needs; to be saved on the tape. */
  readonly state: Tensor | null;
  /** To be called once the operation is enqueued and taped. */
  done(): void;
}

/** Without a seed, what is drawn from the device's own stream is `repeated` from a copy of its state. */
export function draw(operation: string, device: Device, options: RngOptions, repeated: boolean): Draw {
  const { fields, advance } = toRng(operation, device, options);
  if (options.seed !== undefined || !repeated)
    return { fields, state: options.seed instanceof Tensor ? options.seed : null, done: advance };
  const state = snapshotSeed(device); // advances the stream
  return { fields: drawAgain(fields, state), state, done: () => state.dispose() };
}

/** The fields of the same numbers, read from the saved state. */
export function drawAgain(fields: Rng['fields'], state: Tensor | undefined): Rng['fields'] {
  const [, ...rest] = fields;
  return [state?.handle ?? 0, ...rest];
}
