import { describe, expect, test } from 'vitest';
import type { Device } from '../../lib/device.js';
import { GaussianDiffusion } from '../../lib/diffusion/gaussian.js';
import { Sampler } from '../../lib/sampling/sampler.js';
import { comparison, optionsOf, type ProcessCase, scheduleOf, upload } from '../diffusion/process.js';
import { eachDevice } from '../support/devices.js';
import { entryOf, type GoldenTensor, loadGolden, loadGoldenJson } from '../support/golden.js';
import { type TinyModelParameters, tinyModel } from '../support/tinyModel.js';

interface LoopCase extends ProcessCase {
  eta: number | null;
  model: TinyModelParameters;
}

interface LucidrainsCase {
  id: string;
  schedule: 'linear' | 'cosine' | 'sigmoid';
  T: number;
  objective: 'pred_noise' | 'pred_x0' | 'pred_v';
  model: TinyModelParameters;
  ddim?: { eta: number; times: number[] };
}

const improved = 'process/iddpm_loops';
const lucidrains = 'process/lucidrains';
const load = <T>(file: string) => loadGoldenJson<{ cases: T[] }>(`${file}.json`).cases;
const { betas } = load<{ id: string; betas: number[] }>('schedules/lucidrains').find(({ id }) =>
  id.startsWith('lucidrains_sigmoid_T1000'),
) as { betas: number[] };

/** What DDIMScheduler calls the schedules of lucidrains: linear and cosine ones of 1000 steps are alike in all libraries. */
const schedules = {
  linear: { beta_schedule: 'linear' },
  cosine: { beta_schedule: 'squaredcos_cap_v2' },
  sigmoid: { trained_betas: betas },
};
const predictions = { pred_noise: 'epsilon', pred_x0: 'sample', pred_v: 'v_prediction' };

/** Image k of each of two samples, of a stack [2, images, …]. */
function imageOf({ shape, values }: GoldenTensor, k: number): GoldenTensor {
  const [, images, ...rest] = shape as [number, number, ...number[]];
  const size = values.length / 2 / images;
  const both = [0, images].flatMap((first) => [...values.subarray((first + k) * size, (first + k + 1) * size)]);
  return { shape: [2, ...rest], values: Float32Array.from(both) };
}

eachDevice((id, open) => {
  const noisesOf = (device: Device, stack: GoldenTensor) =>
    Array.from({ length: stack.shape[0] as number }, (_, k) => upload(device, entryOf(stack, k)));

  describe('loops of improved-diffusion by a sampler', () => {
    test.each(load<LoopCase>(improved))('$id', async (one) => {
      const device = await open();
      const golden = await loadGolden(`${improved}.safetensors`);
      const stack = (name: string) => golden.get(`${one.id}/${name}`) as GoldenTensor;
      using diffusion = new GaussianDiffusion(device, scheduleOf(one), optionsOf(one));
      const seen: number[][] = [];
      using sampler = new Sampler(diffusion, tinyModel(one.model, seen), {
        method: one.kind === 'p_loop' ? 'ddpm' : 'ddim',
        steps: diffusion.schedule.length,
        eta: one.eta ?? 0,
      });
      const relative = one.kind === 'p_loop' ? 1e-5 : 5e-4;
      let k = 0;
      const initial = upload(device, stack('x_T'));
      for await (const { step, total, x, predXStart } of sampler.steps({ initial, noises: noisesOf(device, stack('noises')) })) {
        expect([step, total]).toEqual([k + 1, one.model_t.length]);
        const reference = { file: improved, id: one.id, device: id };
        const close = comparison(reference, (name) => entryOf(stack(name.replace('sampler, ', '')), k));
        await close(x, 'sampler, samples', relative, 4 * (one.noise.samples as number));
        await close(predXStart, 'sampler, pred_xstart', relative, 4 * (one.noise.pred_xstart as number));
        k++;
      }
      expect(seen.map(([t]) => t)).toEqual(one.model_t.map(Math.fround));
    });
  });

  describe('DDIM of denoising-diffusion-pytorch by a sampler', () => {
    test.each(load<LucidrainsCase>(lucidrains).filter(({ ddim }) => ddim))('$id', async (one) => {
      const device = await open();
      const golden = await loadGolden(`${lucidrains}.safetensors`);
      const stack = (name: string) => golden.get(`${one.id}/${name}`) as GoldenTensor;
      const { eta, times } = one.ddim as { eta: number; times: number[] };
      const config = { prediction_type: predictions[one.objective], ...schedules[one.schedule] };
      using sampler = Sampler.fromDiffusers({ _class_name: 'DDIMScheduler', ...config }, device, tinyModel(one.model), {
        ...{ timesteps: times, eta, useClippedModelOutput: true },
      });
      let k = 0;
      const initial = upload(device, stack('ddim_x_T'));
      for await (const { x } of sampler.steps({ initial, noises: noisesOf(device, stack('ddim_noises')) })) {
        k++;
        const close = comparison({ file: lucidrains, id: one.id, device: id }, () => imageOf(stack('ddim_images'), k));
        await close(x, `sampler, ddim_images[${k}]`, 5e-4);
      }
      expect(k).toBe(times.length);
    });
  });
});
