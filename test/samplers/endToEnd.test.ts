import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Device } from '../../lib/device.js';
import { GaussianDiffusion } from '../../lib/diffusion/gaussian.js';
import { NoiseSchedule } from '../../lib/diffusion/schedule.js';
import type { UNet } from '../../lib/nn/unet.js';
import { Sampler } from '../../lib/sampling/sampler.js';
import { upload } from '../diffusion/process.js';
import { loadCase, referenceModel } from '../nn/unetGolden.js';
import { maxAbs } from '../support/compare.js';
import { conform } from '../support/conformance.js';
import { eachDevice } from '../support/devices.js';
import { entryOf, type GoldenTensor, loadGolden, loadGoldenJson } from '../support/golden.js';
import { withSharedGolden } from '../support/shared.js';

interface EndToEndCase {
  id: string;
  model: string;
  labels?: number[];
  sections?: string;
  timesteps?: number[];
  timestep_map?: number[];
}

const file = 'e2e/e2e';

/** Its schedulers with their defaults; DDPM by `new Sampler` too. */
function samplersOfDiffusers(id: string, device: Device, model: UNet): Sampler[] {
  const steps = 5;
  if (id === 'ddim') return [Sampler.fromDiffusers({ _class_name: 'DDIMScheduler' }, device, model, { steps })];
  const process = new GaussianDiffusion(device, NoiseSchedule.linear(), { variance: 'fixedLarge' });
  return [
    Sampler.fromDiffusers({ _class_name: 'DDPMScheduler', variance_type: 'fixed_large' }, device, model, { steps }),
    new Sampler(process, model, { method: 'ddpm', steps, spacing: 'leading' }),
  ];
}

function samplerOfImproved({ id, sections }: EndToEndCase, device: Device, model: UNet): Sampler {
  const schedule = NoiseSchedule.cosine().respace(sections as string);
  const diffusion = new GaussianDiffusion(device, schedule, { variance: 'learnedRange', rescaleTimesteps: true });
  return new Sampler(diffusion, model, { method: id === 'iddpm_ddim' ? 'ddim' : 'ddpm', steps: schedule.length });
}

eachDevice((device, open) => {
  withSharedGolden('networks and samplers, end to end', (folder) => {
    const { cases } = loadGoldenJson<{ cases: EndToEndCase[] }>(join(folder, `${file}.json`));

    test.each(cases)('$id', async (one) => {
      const opened = await open();
      const golden = await loadGolden(join(folder, `${file}.safetensors`));
      const stack = (name: string) => golden.get(`${one.id}/${name}`);
      const network = join(folder, one.model);
      const { model } = await referenceModel(opened, network, await loadCase(network));
      const samplers = one.sections ? [samplerOfImproved(one, opened, model)] : samplersOfDiffusers(one.id, opened, model);
      for (const sampler of samplers) {
        expect([...sampler.timesteps]).toEqual(one.timesteps ?? one.timestep_map?.toReversed());
        const initial = upload(opened, stack('x_T') as GoldenTensor);
        const drawn = stack('noises');
        const noises = drawn && Array.from({ length: drawn.shape[0] as number }, (_, k) => upload(opened, entryOf(drawn, k)));
        let k = 0;
        for await (const { x, predXStart } of sampler.steps({ initial, noises, labels: one.labels })) {
          for (const [name, tensor] of [
            ['samples', x],
            ['pred_xstart', predXStart],
          ] as const) {
            const expected = stack(name);
            if (!expected) continue;
            const error = maxAbs((await tensor.read({ layout: 'nchw' })) as Float32Array, entryOf(expected, k).values);
            conform({ file, id: one.id, device }, `${name}[${k}], max abs`, error, 2e-3);
          }
          k++;
        }
        expect(k).toBe(sampler.timesteps.length);
        sampler.dispose();
      }
      model.dispose();
    });
  });
});
