import { join } from 'node:path';
import { expect, test } from 'vitest';
import { DTypeError } from '../../lib/errors.js';
import { UNet } from '../../lib/nn/unet.js';
import { golden, loadCase, type Pass, runCase, type UNetCase } from '../nn/unetGolden.js';
import { relL2 } from '../support/compare.js';
import { eachDevice, openForBf16 } from '../support/devices.js';
import { goldenPath, sharedGolden } from '../support/shared.js';
import { randomValues } from '../support/values.js';

/** What bf16 may differ from float32 by, in relative L2: the output, and all gradients together. */
const limits = { output: 2e-2, gradient: 5e-2 };

/** Of the gradients of weights and images as one vector; an estimate where every n-th element of a tensor is on record. */
function totalError(pass: Pass, one: UNetCase): number {
  const images = golden(one, 'grad_x').values;
  let total = images.reduce((sum, value) => sum + value ** 2, 0);
  let error = images.reduce((sum, value, i) => sum + (value - (pass.gradX[i] as number)) ** 2, 0);
  for (const { name, grad } of one.params) {
    const got = pass.gradients.get(name) as Float32Array;
    const whole = one.tensors.get(`grad/${name}`)?.values;
    const stride = whole ? 1 : (one.gradient_storage.stride as number);
    const expected = whole ?? golden(one, `gradsub/${name}`).values;
    const squares = expected.reduce((sum, value, i) => sum + (value - (got[i * stride] as number)) ** 2, 0);
    error += squares * (got.length / expected.length);
    total += grad.l2 ** 2;
  }
  return Math.sqrt(error / total);
}

const shared = (name: string) => (sharedGolden ? join(sharedGolden, 'unet', name) : null);

eachDevice((id, open) => {
  test.for([
    ['d1_cifar_style', goldenPath('unet/d1_cifar_style'), 'unet/d1_cifar_style'],
    ['d2_default_ss', goldenPath('unet/d2_default_ss'), 'unet/d2_default_ss'],
    ['d4_g32_noattnmid', shared('d4_g32_noattnmid'), shared('d4_g32_noattnmid')],
    ['d5_legacy_attention_keys', shared('d5_legacy_attention_keys'), 'unet/d1_cifar_style'],
  ])(`%s on ${id}: output and gradients near those in float32`, async ([, folder, numbers], context) => {
    if (!folder || !numbers) return context.skip('the shared reference data are not here');
    const device = await openForBf16(open, context);
    const one = await loadCase(numbers);
    using model = await UNet.load(device, folder, { dtype: 'bf16' });
    expect(model.config.dtype).toBe('bf16');
    const pass = await runCase(device, model, one);
    expect(relL2(pass.out, golden(one, 'out').values), 'output').toBeLessThan(limits.output);
    expect(totalError(pass, one), 'gradient').toBeLessThan(limits.gradient);
  });

  test(`a network on ${id} where the device has no bf16 is refused with its instruction set`, async (context) => {
    const device = await open();
    if (device.info.bf16) return context.skip(`${id} computes in bf16`);
    const isa = (device.info.isa ?? device.info.name) as string;
    expect(() => new UNet(device, { baseChannels: 8, dtype: 'bf16' })).toThrow(DTypeError);
    expect(() => new UNet(device, { baseChannels: 8, dtype: 'bf16' })).toThrow(`${device.info.id} (${isa})`);
    await expect(UNet.load(device, goldenPath('unet/d1_cifar_style'), { dtype: 'bf16' })).rejects.toThrow(DTypeError);
  });

  test(`a network on ${id} reads and writes float32, and no sample depends on its batch`, async (context) => {
    const device = await openForBf16(open, context);
    using model = await UNet.load(device, goldenPath('unet/d1_cifar_style'), { dtype: 'bf16' });
    using copy = model.clone();
    expect(copy.config.dtype).toBe('bf16');
    const size = 8 * 8 * 3;
    const [values, t] = [randomValues(3 * size, 1), [3, 500, 999]];
    const images = device.tensor(values, [3, 8, 8, 3]);
    const all = copy.forward(images, t);
    expect(all.dtype).toBe('f32');
    const expected = (await all.read()) as Float32Array;
    expect(await model.forward(images, t).read()).toEqual(expected);
    for (const [k, step] of t.entries()) {
      const alone = device.tensor(values.slice(k * size, (k + 1) * size), [1, 8, 8, 3]);
      // The same bits: sums of a sample have the same terms in the same order in any batch.
      expect(await model.forward(alone, [step]).read()).toEqual(expected.slice(k * size, (k + 1) * size));
    }
    const bits = device.zeros([1, 8, 8, 3], { dtype: 'bf16' });
    expect(() => model.forward(bits, [0])).toThrow(DTypeError);
  });
});
