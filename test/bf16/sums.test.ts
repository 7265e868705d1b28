import { expect, test } from 'vitest';
import type { Device } from '../../lib/device.js';
import * as ops from '../../lib/ops/index.js';
import type { Tensor } from '../../lib/tensor.js';
import { relL2 } from '../support/compare.js';
import { eachDevice, openForBf16 } from '../support/devices.js';
import { randomValues, sizeOf } from '../support/values.js';

const bf16 = (device: Device, shape: readonly number[], seed: number): Tensor =>
  device.tensor(randomValues(sizeOf(shape), seed), shape, { dtype: 'bf16' });

const convolved = (device: Device, shape: readonly number[], statistics: boolean, seed = 1): Tensor =>
  ops.conv2d(bf16(device, shape, seed), bf16(device, [3, 3, shape[3] as number, 12], seed + 1), { padding: 1, statistics });

const normed = (x: Tensor, skip?: Tensor): Promise<ArrayLike<number>> => {
  const { device } = x;
  const channels = 12 + (skip?.shape[3] ?? 0);
  const [gamma, beta] = [
    device.tensor(randomValues(channels, 7), [channels]),
    device.tensor(randomValues(channels, 8), [channels]),
  ];
  return ops.groupNorm(x, gamma, beta, { groups: 3, silu: true, ...(skip && { skip }) }).read();
};

/** Whether a normalisation of `x` reads the sums: it gives something else when they are wrong. */
async function readsSums(x: Tensor, sums: Tensor, skip?: Tensor): Promise<boolean> {
  const before = await normed(x, skip);
  const kept = await sums.read();
  sums.write(new Float32Array(sums.size).fill(1));
  const after = await normed(x, skip);
  sums.write(kept);
  return relL2(after, before) > 0.1;
}

const sumsOf = (x: Tensor): Tensor => (x.sums as NonNullable<Tensor['sums']>).tensor;

eachDevice((id, open) => {
  test(`a normalisation on ${id} takes its statistics from the convolution before it`, async (context) => {
    const device = await openForBf16(open, context);
    const x = convolved(device, [2, 8, 16, 5], true);
    const plain = convolved(device, [2, 8, 16, 5], false);
    expect(plain.sums).toBeNull();
    expect(await x.read()).toEqual(await plain.read());
    expect(relL2(await normed(x), await normed(plain))).toBeLessThan(2 ** -8);
    expect(await readsSums(x, sumsOf(x))).toBe(true);
    const tokens = ops.reshape(x, [2, 128, 12]);
    expect(await readsSums(tokens, sumsOf(tokens))).toBe(true);
    expect(ops.reshape(x, [1, 256, 12]).sums).toBeNull(); // other samples
    expect(ops.reshape(x, [2, 8, 192]).sums).toBeNull(); // other channels

    const other = convolved(device, [2, 8, 16, 4], true, 5);
    expect(relL2(await normed(x, other), await normed(plain, convolved(device, [2, 8, 16, 4], false, 5)))).toBeLessThan(2 ** -8);
    for (const one of [x, other]) expect(await readsSums(x, sumsOf(one), other)).toBe(true);
    expect(await readsSums(x, sumsOf(x), plain)).toBe(false); // both, or neither
  });

  test(`sums on ${id} are not made where they do not fit, nor read once the tensor was written`, async (context) => {
    const device = await openForBf16(open, context);
    expect(convolved(device, [1, 7, 9, 3], true).sums).toBeNull();
    const [image, filter] = [device.zeros([1, 8, 8, 3]), device.zeros([1, 1, 3, 12])];
    expect(ops.conv2d(image, filter, { statistics: true }).sums).toBeNull();
    expect(() => ops.conv2d(image, filter, { statistics: 1 as never })).toThrow(/conv2d: .*statistics/);
    const x = convolved(device, [1, 8, 8, 3], true);
    x.write(randomValues(x.size, 3));
    expect(await readsSums(x, sumsOf(x))).toBe(false);
  });

  test(`sums on ${id} are freed with their tensor, in a scope and out of it`, async (context) => {
    const device = await openForBf16(open, context);
    const [image, filter] = [bf16(device, [1, 8, 8, 3], 1), bf16(device, [3, 3, 3, 12], 2)];
    const convolve = () => ops.conv2d(image, filter, { padding: 1, statistics: true });
    convolve().dispose();
    const { usedBytes } = device.memory();
    const kept = device.scope(convolve);
    expect((await sumsOf(kept).read()).length).toBe(24);
    ops.reshape(kept, [1, 64, 12]).dispose();
    kept.dispose();
    device.scope(() => void ops.reshape(convolve(), [1, 64, 12]));
    expect(device.memory().usedBytes).toBe(usedBytes);
  });
});
