import { join } from 'node:path';
import { expect, test } from 'vitest';
import { UNet } from '../../lib/nn/unet.js';
import { maxAbs, relL2 } from '../support/compare.js';
import { eachDevice } from '../support/devices.js';
import { goldenPath, sharedGolden } from '../support/shared.js';
import { golden, loadCase, type Pass, runCase, type UNetCase } from './unetGolden.js';

/** The tolerances of the reference data for float32. */
function expectAgreement(pass: Pass, one: UNetCase): void {
  expect(relL2(pass.out, golden(one, 'out').values)).toBeLessThan(1e-5);
  expect(maxAbs(pass.out, golden(one, 'out').values)).toBeLessThan(5e-5);
  const [loss] = golden(one, 'loss').values;
  expect(Math.abs(pass.loss / (loss as number) - 1)).toBeLessThan(1e-5);
  expect(relL2(pass.gradX, golden(one, 'grad_x').values)).toBeLessThan(5e-5);
  const { zero_gradient_tensors: zero } = one.float32_vs_float64_noise;
  const { stride } = one.gradient_storage;
  const wrong: Record<string, number> = {};
  expect([...pass.gradients.keys()].sort()).toEqual(one.params.map(({ name }) => name).sort());
  for (const { name, grad } of one.params) {
    if (zero.includes(name)) continue;
    const got = pass.gradients.get(name) as Float32Array;
    const whole = one.tensors.get(`grad/${name}`)?.values;
    const sample = whole ? got : got.filter((_, i) => i % (stride as number) === 0);
    const error = relL2(sample, whole ?? golden(one, `gradsub/${name}`).values);
    const norm = Math.abs(Math.sqrt(got.reduce((sum, value) => sum + value * value, 0)) / grad.l2 - 1);
    if (!(error < 1e-4 && norm < 1e-4)) wrong[name] = Math.max(error, norm);
  }
  expect(wrong).toEqual({});
}

eachDevice((_id, open) => {
  test.each(['unet/d1_cifar_style', 'unet/d2_default_ss'])('%s: output, loss and every gradient', async (name) => {
    const device = await open();
    const one = await loadCase(name);
    using model = await UNet.load(device, goldenPath(name));
    expectAgreement(await runCase(device, model, one), one);
  });

  test.skipIf(!sharedGolden)('d4_g32_noattnmid: half-precision weights, no attention in the middle', async () => {
    const device = await open();
    const folder = join(sharedGolden as string, 'unet/d4_g32_noattnmid');
    const one = await loadCase(folder);
    using model = await UNet.load(device, folder);
    expectAgreement(await runCase(device, model, one), one);
  });
});
