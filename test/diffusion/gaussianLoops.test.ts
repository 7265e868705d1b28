import { expect, test } from 'vitest';
import { GaussianDiffusion } from '../../lib/diffusion/gaussian.js';
import { modelTimesteps } from '../../lib/diffusion/tables.js';
import { entryOf, loadGoldenJson } from '../support/golden.js';
import { type TinyModelParameters, tinyModel } from '../support/tinyModel.js';
import { eachReference, optionsOf, type ProcessCase, scheduleOf, upload } from './process.js';

interface LoopCase extends ProcessCase {
  eta: number | null;
  model: TinyModelParameters;
}

const file = 'process/iddpm_loops';
const { cases } = loadGoldenJson<{ cases: LoopCase[] }>(`${file}.json`);

eachReference(file, (on) => {
  test.each(cases)('$id of improved-diffusion, step by step', async (example) => {
    const { reference: stack } = on.of(example);
    const schedule = scheduleOf(example);
    const times = modelTimesteps(schedule, example.rescale_timesteps);
    using diffusion = new GaussianDiffusion(on.device, schedule, optionsOf(example));
    const predict = tinyModel(example.model);
    let x = upload(on.device, stack('x_T'));
    for (const [k, expected] of example.model_t.entries()) {
      const t = schedule.length - 1 - k;
      expect(times[t]).toBe(expected);
      const output = await predict(x, on.device.tensor(Float32Array.of(expected, expected), [2]), {});
      const noise = upload(on.device, entryOf(stack('noises'), k));
      const given = { noise, ...(example.kind === 'ddim_loop' && { eta: example.eta as number }) };
      const step = example.kind === 'ddim_loop' ? diffusion.ddimSample : diffusion.pSample;
      const { sample, predXStart } = step.call(diffusion, output, x, [t, t], given);
      const close = on.comparing(example.id, (name) => entryOf(stack(name), k));
      const relative = example.kind === 'ddim_loop' ? 5e-4 : 1e-5;
      await close(sample, 'samples', relative, 4 * (example.noise.samples as number));
      await close(predXStart, 'pred_xstart', relative, 4 * (example.noise.pred_xstart as number));
      x = sample;
    }
  });
});
