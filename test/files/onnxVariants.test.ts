import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest';
import { type Device, openDevice, UNet, type UNetOptions } from '../../lib/index.js';
import { golden, loadCase, referenceModel } from '../nn/unetGolden.js';
import { relL2 } from '../support/compare.js';
import { type Given, onnxDistance, predictByOnnx, predictByUs } from '../support/onnxRuntime.js';
import { sharedGolden } from '../support/shared.js';
import { temporaryFolder } from '../support/temporaryFolder.js';

const small = { imageSize: 8, baseChannels: 8, channelMults: [1, 2], resBlocks: 1, attentionResolutions: [4], groups: 4 };
const networks: Record<string, UNetOptions> = {
  'the plain one': {},
  'scale and shift': { timeEmbedding: 'scaleShift' },
  'residual blocks that resample': { resample: 'resBlock' },
  'residual blocks that resample, scaled and shifted': { resample: 'resBlock', timeEmbedding: 'scaleShift' },
  pooling: { resample: 'pool' },
  'zeros at the lower right': { downsamplePadding: 0 },
  classes: { numClasses: 5 },
  'labels embedded as steps': { classEmbedType: 'timestep' },
  'labels that are embeddings': { classEmbedType: 'identity' },
  heads: { heads: 4, attentionResolutions: [8, 4] },
  'channels of a head': { headChannels: 4, attentionResolutions: [8, 4] },
  'learned variances': { outChannels: 6 },
  'no attention in the middle': { midAttention: false },
  'no middle': { midBlock: false },
  'groups of the middle attention': { attnNormGroups: 2 },
  'a middle attention without normalisation': { attnNormGroups: null, timeEmbedding: 'scaleShift' },
  'a divided middle': { midBlockScaleFactor: 1.5 },
  'a large epsilon': { normEps: 0.05 },
  'a centred input': { centerInputSample: true },
  'sinusoids of Ho et al.': { flipSinToCos: false, freqShift: 1, timeEmbeddingDim: 20 },
  'an odd number of sinusoids': { baseChannels: 9, groups: 3 },
  'a table of steps': { timeEmbeddingType: 'learned', numTrainTimesteps: 1000 },
  'one channel, not square': { inChannels: 1, imageSize: [4, 12], channelMults: [1, 2, 3] },
  'two channels': { inChannels: 2, imageSize: [6, 10] },
  'four channels to seven': { inChannels: 4, outChannels: 7 },
  'one level': { channelMults: [2], attentionResolutions: [8], resBlocks: 2 },
  'fractional multipliers': { channelMults: [0.5, 1, 2.5], imageSize: 12, attentionResolutions: [6, 3], groups: 2 },
  'all at once': {
    inChannels: 2,
    imageSize: [12, 20],
    baseChannels: 12,
    groups: 3,
    channelMults: [1, 2, 3],
    resBlocks: 2,
    attentionResolutions: [6, 3],
    headChannels: 6,
    timeEmbedding: 'scaleShift',
    resample: 'resBlock',
    numClasses: 3,
    centerInputSample: true,
    flipSinToCos: false,
    freqShift: 1,
    normEps: 1e-6,
    midBlockScaleFactor: 2,
    attnNormGroups: 6,
    dropout: 0.3,
    outChannels: 4,
  },
};

const folder = temporaryFolder();
let device: Device;
beforeAll(async () => {
  device = await openDevice('cpu');
});
afterAll(() => device.close());

const values = async (size: number, seed: number) => (await device.randn([size], { seed }).read()) as Float32Array;

describe('onnxruntime predicts from the file what the network predicts', () => {
  it.each(Object.entries(networks))('%s', async (name, options) => {
    using model = new UNet(device, { ...small, ...options, zeroInit: false, seed: 4 });
    const path = join(folder, `${name}.onnx`);
    await model.exportOnnx(path);
    const [height, width] = model.imageSize as readonly [number, number];
    const factor = 2 ** ((options.channelMults ?? small.channelMults).length - 1);
    // One image of the size that it is meant for, and three of another.
    for (const [n, h, w] of [
      [1, height, width],
      [3, height + factor, width + 2 * factor],
    ] as const) {
      const shape = [n, model.inChannels, h, w] as const;
      const labels =
        options.classEmbedType === 'identity'
          ? await values(n * 4 * small.baseChannels, 2)
          : options.classEmbedType || options.numClasses
            ? [2, -1, 0].slice(3 - n) // −1: no class
            : null;
      const given = { x: await values(n * model.inChannels * h * w, 1), shape, t: [999, 0, 500].slice(3 - n), labels };
      if (options.classEmbedType === 'timestep') given.labels = [7, 3, 11].slice(3 - n);
      expect(await onnxDistance(path, model, given), `${n} of ${h} × ${w}`).toBeLessThan(1e-4);
    }
  });
});

describe('onnxruntime predicts from the file what PyTorch predicted', () => {
  const stored = ['d1_cifar_style', 'd2_default_ss', 'd3_resnet_updown_cls', 'o3_guided_updown', 'o4_guided_neworder_pool'];
  const shared = ['d4_g32_noattnmid', 'o1_iddpm_plain', 'o2_iddpm_ss_cls_sigma', 'o5_iddpm_3level_hash'];
  const compare = async (path: string, name: string) => {
    const one = await loadCase(path);
    const { model } = await referenceModel(device, path, one);
    const file = join(folder, `${name}.onnx`);
    await model.exportOnnx(file);
    const { values: x, shape } = golden(one, 'x');
    const t = golden(one, 't').values;
    const given = { x, shape: shape as Given['shape'], t: t.map(Math.floor), labels: one.labels };
    // The file takes whole steps: where the case's are not, the network itself is the reference.
    const expected = t.every(Number.isInteger) ? golden(one, 'out').values : await predictByUs(model, given);
    expect(relL2(await predictByOnnx(file, given), expected)).toBeLessThan(1e-4);
    model.dispose();
  };

  test.each(stored)('%s', (name) => compare(join('unet', name), name));
  test.skipIf(!sharedGolden).each(shared)('%s of the reference data', (name) =>
    compare(join(sharedGolden as string, 'unet', name), name),
  );
});
