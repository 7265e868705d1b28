import { join } from 'node:path';
import { expect, test } from 'vitest';
import { UNet } from '../../lib/nn/unet.js';
import { hashAll, loadCase } from '../nn/unetGolden.js';
import { conform } from '../support/conformance.js';
import { eachDevice } from '../support/devices.js';
import { fullestPath, sharedGolden, whyNoGolden } from '../support/shared.js';

/** Folders as diffusers writes them, and the case that describes their weights. */
const folders = [
  { id: 'd1_cifar_style', layout: 'flat' },
  { id: 'd2_default_ss', layout: 'a pipeline' },
  { id: 'd4_g32_noattnmid', layout: 'the float16 variant', variant: 'fp16' },
  { id: 'd5_legacy_attention_keys', layout: 'attention keys of 0.16', weights: 'd1_cifar_style' },
];
const copied = ['d1_cifar_style', 'd2_default_ss'];

eachDevice((device, open) => {
  test.for(folders)('$id, $layout: every weight is the one that was saved', async ({ id, variant, weights = id }, context) => {
    if (!sharedGolden && !copied.includes(id)) return context.skip(whyNoGolden);
    const folder = fullestPath(`unet/${id}`);
    const expected = hashAll(await loadCase(fullestPath(join('unet', weights))));
    for (const options of [{}, ...(variant ? [{ variant }] : [])]) {
      using model = await UNet.load(await open(), folder, options);
      expect([...model.parameters().keys()].sort()).toEqual([...expected.keys()].sort());
      let different = 0;
      for (const [name, parameter] of model.parameters()) {
        const values = await parameter.read();
        expect(values.length).toBe(expected.get(name)?.length);
        different += values.filter((value, i) => value !== expected.get(name)?.[i]).length;
      }
      conform({ file: `unet/${id}`, id, device: `${device} load` }, 'weights that load reads differently', different, 0);
    }
  });
});
