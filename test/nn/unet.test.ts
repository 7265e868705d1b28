import { expect, test } from 'vitest';
import { openAiTensors } from '../../lib/nn/openaiKeys.js';
import type { OpenAiOptions } from '../../lib/nn/openaiOptions.js';
import { UNet } from '../../lib/nn/unet.js';
import { maxAbs, maxRelative, relL2 } from '../support/compare.js';
import { caseId, conform } from '../support/conformance.js';
import { eachDevice } from '../support/devices.js';
import { loadGoldenJson } from '../support/golden.js';
import { fullestPath, goldenPath, withSharedGolden } from '../support/shared.js';
import {
  golden,
  type HashedTensor,
  hashAll,
  hashWeights,
  loadCase,
  type Pass,
  referenceModel,
  runCase,
  type UNetCase,
} from './unetGolden.js';

/** Those that the repository has, and those that it has only beside it. */
const own = ['d1_cifar_style', 'd2_default_ss', 'd3_resnet_updown_cls', 'o3_guided_updown', 'o4_guided_neworder_pool'];
const others = [
  'd4_g32_noattnmid',
  'd5_legacy_attention_keys',
  'o1_iddpm_plain',
  'o2_iddpm_ss_cls_sigma',
  'o5_iddpm_3level_hash',
  'd6_ddpm_cifar10_32_full_hash',
  'o6_iddpm_cifar10_full_hash',
];
/** Minutes on the emulator, or a good part of one. */
const isLarge = (id: string) => id.endsWith('full_hash');
const isSlow = (id: string) => isLarge(id) || ['o1_iddpm_plain', 'o5_iddpm_3level_hash'].includes(id);

const folderOf = (id: string) => fullestPath(`unet/${id}`);

/** The case of a folder; d5 is d1 in an older spelling. */
async function caseOf(id: string): Promise<UNetCase> {
  const one = await loadCase(folderOf(id === 'd5_legacy_attention_keys' ? 'd1_cifar_style' : id));
  return { ...one, id };
}

/** The relative L2 error of a whole tensor of norm `l2`, estimated from every `stride`-th element. */
function sampledError(got: Float32Array, sample: Float32Array, stride: number, l2: number): number {
  const difference = Math.hypot(...sample.map((value, i) => value - (got[i * stride] as number)));
  return difference / (l2 * Math.sqrt(sample.length / got.length));
}

/** The tolerances of the reference data for float32. */
function expectAgreement(device: string, pass: Pass, one: UNetCase): void {
  const check = (quantity: string, error: number, tolerance: number) =>
    conform({ file: `unet/${one.id}`, id: one.id, device }, quantity, error, tolerance);
  check('output, relative L2', relL2(pass.out, golden(one, 'out').values), 1e-5);
  check('output, max abs', maxAbs(pass.out, golden(one, 'out').values), 5e-5);
  const [loss] = golden(one, 'loss').values;
  check('loss, relative', Math.abs(pass.loss / (loss as number) - 1), 1e-5);
  check('gradient of the images, relative L2', relL2(pass.gradX, golden(one, 'grad_x').values), 5e-5);
  const { zero_gradient_tensors: zero } = one.float32_vs_float64_noise;
  const { stride } = one.gradient_storage;
  expect([...pass.gradients.keys()].sort()).toEqual(one.params.map(({ name }) => name).sort());
  for (const { name, grad } of one.params) {
    if (zero.includes(name)) continue;
    const got = pass.gradients.get(name) as Float32Array;
    const size = Math.sqrt(got.reduce((sum, value) => sum + value * value, 0));
    const whole = one.tensors.get(`grad/${name}`)?.values;
    const error = whole ? relL2(got, whole) : sampledError(got, golden(one, `gradsub/${name}`).values, stride as number, grad.l2);
    check(`gradient of ${name}, relative L2`, error, 1e-4);
    check(`gradient of ${name}, relative error of its norm`, Math.abs(size / grad.l2 - 1), 1e-4);
  }
}

eachDevice((id, open) => {
  const run = async (name: string) => {
    const device = await open();
    const one = await caseOf(name);
    const { model, named } = await referenceModel(device, folderOf(name), one);
    const pass = await runCase(device, model, one);
    expectAgreement(id, { ...pass, gradients: named(pass.gradients) }, one);
    if (!device.info.bf16 || isLarge(name)) return model.dispose();
    const rounded = await referenceModel(device, folderOf(name), one, 'bf16');
    const { out } = await runCase(device, rounded.model, one);
    const error = relL2(out, golden(one, 'out').values);
    conform({ file: `unet/${one.id}`, id: one.id, device: `${id} bf16` }, 'output, relative L2', error, 2e-2);
    rounded.model.dispose();
    model.dispose();
  };

  test.each(own)('%s: output, loss and every gradient', run);

  withSharedGolden('of the whole reference data', () => {
    const there = others.filter((name) => id !== 'emulator' || !isSlow(name));
    test.each(there)('%s: output, loss and every gradient', run);
  });
});

interface HashCase extends HashedTensor {
  seed: number;
  first: number[];
  sum: number;
  l2: number;
}

test.each(loadGoldenJson<{ cases: HashCase[] }>('unet/hash_selftest.json').cases)('the weight generator: $name', (one) => {
  const values = hashWeights(one.seed, one);
  const reference = { file: 'unet/hash_selftest', id: caseId(one), device: 'host' };
  conform(reference, 'first values, max abs', maxAbs(values.subarray(0, one.first.length), one.first), 0);
  const sums = [values.reduce((sum, value) => sum + value, 0), Math.hypot(...values)];
  conform(reference, 'sum and norm, max relative', maxRelative(sums, [one.sum, one.l2]), 1e-12);
});

eachDevice((_id, open) => {
  test('what a file holds is what the generator makes', async () => {
    const device = await open();
    using model = await UNet.load(device, goldenPath('unet/d1_cifar_style'));
    for (const [name, values] of hashAll(await caseOf('d1_cifar_style')))
      expect(maxAbs((await model.parameters().get(name)?.read()) as Float32Array, values), name).toBe(0);
  });
});

test.each(['o3_guided_updown', 'o4_guided_neworder_pool'])("%s: every tensor of OpenAI's file has its place", async (id) => {
  const one = await caseOf(id);
  const shapes = new Map(one.params.map(({ name, shape }) => [name, shape]));
  const filled = new Map<string, number>();
  for (const { from } of openAiTensors(one.kwargs as OpenAiOptions).values()) filled.set(from, (filled.get(from) ?? 0) + 1);
  expect([...filled.keys()].sort()).toEqual([...shapes.keys()].sort());
  for (const [name, count] of filled) expect(count, name).toBe(name.includes('qkv') ? 3 : 1);
});
