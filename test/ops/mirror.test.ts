import { expect, test } from 'vitest';
import { eachDevice } from '../support/devices.js';
import { words } from '../support/philox.js';
import { randomValues, sizeOf } from '../support/values.js';

const seeds = { seed: 2 ** 35 + 3, stream: 6, step: 4, firstSample: 9 };

/** Lines of whole words of four bytes and others, one to five channels. */
const shapes = [
  [9, 3, 8, 3],
  [9, 2, 4, 1],
  [8, 3, 6, 2],
  [8, 2, 3, 4],
  [8, 2, 5, 3],
  [8, 1, 7, 1],
  [6, 2, 4, 5],
  [5, 1, 1, 3],
];

eachDevice((id, open) => {
  for (const dtype of ['u8', 'f32'] as const)
    for (const shape of shapes)
      for (const shift of [0, 1])
        test(`noising on ${id} mirrors [${shape}] of ${dtype}, ${shift} into memory, where the coin of a sample says so`, async () => {
          const device = await open();
          const [n, height, width, channels] = shape as [number, number, number, number];
          const size = sizeOf(shape);
          const values = dtype === 'f32' ? randomValues(size, 1) : Uint8Array.from({ length: size }, (_, i) => (i * 37) % 256);
          const padded = dtype === 'f32' ? new Float32Array(size + shift) : new Uint8Array(size + shift);
          padded.set(values, shift);
          const x0 = device.tensor(padded, [size + shift]).alias(shape, shift);
          const [xt, zeros, noiseless] = [device.full(shape, Number.NaN), device.zeros(shape), device.tensor([1, 0], [1, 2])];
          const t = device.tensor(new Int32Array(n), [n]);
          const operands = [x0, t, noiseless, zeros, xt].map((tensor) => tensor.handle);
          device.native.noising(...operands, 0, 0, 0, 0, true, 0, seeds.seed, seeds.stream, seeds.step, seeds.firstSample);

          const coins = Array.from({ length: n }, (_, i) => words({ ...seeds, stream: seeds.stream + 1 }, i, 1)[0] as number);
          const mirrored = coins.map((word) => (word & 1) === 1);
          expect(new Set(mirrored).size, 'some are, some are not').toBe(2);
          const expected = Float32Array.from({ length: size }, (_, i) => {
            const [c, w, line] = [i % channels, Math.floor(i / channels) % width, Math.floor(i / (channels * width))];
            const from = mirrored[Math.floor(line / height)] ? width - 1 - w : w;
            const value = values[(line * width + from) * channels + c] as number;
            return dtype === 'f32' ? value : Math.fround(Math.fround(value / 127.5) - 1);
          });
          expect(await xt.read()).toEqual(expected);
        });
});
