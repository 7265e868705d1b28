import { copyFile, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { writeSafetensors } from '../../lib/files/safetensors.js';
import { UNet } from '../../lib/nn/unet.js';
import { maxAbs, relL2 } from '../support/compare.js';
import { eachDevice } from '../support/devices.js';
import { goldenPath, sharedGolden } from '../support/shared.js';
import { temporaryFolder } from '../support/temporaryFolder.js';
import { golden, hashWeights, loadCase, type Pass, runCase, type UNetCase } from './unetGolden.js';

const temporary = temporaryFolder();

/** The relative L2 error of a whole tensor of norm `l2`, estimated from every `stride`-th element. */
function sampledError(got: Float32Array, sample: Float32Array, stride: number, l2: number): number {
  const difference = Math.hypot(...sample.map((value, i) => value - (got[i * stride] as number)));
  return difference / (l2 * Math.sqrt(sample.length / got.length));
}

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
    const size = Math.sqrt(got.reduce((sum, value) => sum + value * value, 0));
    const whole = one.tensors.get(`grad/${name}`)?.values;
    const error = whole ? relL2(got, whole) : sampledError(got, golden(one, `gradsub/${name}`).values, stride as number, grad.l2);
    const norm = Math.abs(size / grad.l2 - 1);
    if (!(error < 1e-4 && norm < 1e-4)) wrong[name] = Math.max(error, norm);
  }
  expect(wrong).toEqual({});
}

eachDevice((id, open) => {
  test.each(['unet/d1_cifar_style', 'unet/d2_default_ss'])('%s: output, loss and every gradient', async (name) => {
    const device = await open();
    const one = await loadCase(name);
    using model = await UNet.load(device, goldenPath(name));
    expectAgreement(await runCase(device, model, one), one);
  });

  test('the hash generator makes the reference weights', async () => {
    const device = await open();
    const one = await loadCase('unet/d1_cifar_style');
    using model = await UNet.load(device, goldenPath('unet/d1_cifar_style'));
    const [read, made] = [await readAll(model), hashAll(one)];
    for (const [name, values] of made) expect(maxAbs(read.get(name) as Float32Array, values), name).toBe(0);
  });

  test.skipIf(!sharedGolden)('d4_g32_noattnmid: half-precision weights, no attention in the middle', async () => {
    const device = await open();
    const folder = join(sharedGolden as string, 'unet/d4_g32_noattnmid');
    const one = await loadCase(folder);
    using model = await UNet.load(device, folder);
    expectAgreement(await runCase(device, model, one), one);
  });

  // Minutes on the emulator.
  test.skipIf(!sharedGolden || id === 'emulator')(
    'd6_ddpm_cifar10_32: the published CIFAR-10 network, 35.7 million weights',
    async () => {
      const device = await open();
      const folder = join(sharedGolden as string, 'unet/d6_ddpm_cifar10_32_full_hash');
      const one = await loadCase(folder);
      const copy = join(temporary, `d6-${id}`);
      await mkdir(copy);
      await copyFile(join(folder, 'config.json'), join(copy, 'config.json'));
      const shapes = new Map(one.params.map(({ name, shape }) => [name, shape]));
      const entries = Array.from(hashAll(one), ([name, data]) => ({ name, shape: shapes.get(name) as number[], data }));
      await writeSafetensors(join(copy, 'diffusion_pytorch_model.safetensors'), entries);
      using model = await UNet.load(device, copy);
      expectAgreement(await runCase(device, model, one), one);
    },
  );
});

async function readAll(model: UNet): Promise<Map<string, Float32Array>> {
  const values = new Map<string, Float32Array>();
  for (const [name, parameter] of model.parameters()) values.set(name, await parameter.read());
  return values;
}

function hashAll(one: UNetCase): Map<string, Float32Array> {
  return new Map(
    one.params.map(({ name, shape, kind, scale }) => [
      name,
      hashWeights(
        name,
        one.seed,
        shape.reduce((product, axis) => product * axis, 1),
        kind,
        scale,
      ),
    ]),
  );
}
