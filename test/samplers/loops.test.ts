import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Device } from '../../lib/device.js';
import { GaussianDiffusion } from '../../lib/diffusion/gaussian.js';
import { NoiseSchedule } from '../../lib/diffusion/schedule.js';
import { openDevice } from '../../lib/openDevice.js';
import { Sampler } from '../../lib/sampling/sampler.js';
import type { Tensor } from '../../lib/tensor.js';
import { maxAbs } from '../support/compare.js';
import { type GoldenTensor, loadGolden, loadGoldenJson } from '../support/golden.js';
import { sharedGolden } from '../support/shared.js';
import { type TinyModelParameters, tinyModel } from '../support/tinyModel.js';

interface LoopCase {
  id: string;
  kind: 'p_loop' | 'ddim_loop';
  var: string;
  eta: number | null;
  schedule: 'linear' | 'cosine';
  T: number;
  sections: string;
  rescale_timesteps: boolean;
  model: TinyModelParameters;
  model_t: number[];
}

const folder = sharedGolden ? join(sharedGolden, 'process') : '';
const available = existsSync(join(folder, 'iddpm_loops.json'));
const cases = available ? loadGoldenJson<{ cases: LoopCase[] }>(join(folder, 'iddpm_loops.json')).cases : [];
const fixed = cases.filter((one) => one.var === 'fixed_large');

let device: Device;
beforeAll(async () => {
  device = await openDevice('cpu');
});
afterAll(() => device.close());

/** One image batch [N, C, H, W] out of a stack of them. */
function entry({ shape, values }: GoldenTensor, k: number): { values: Float32Array; shape: readonly number[] } {
  const [, ...rest] = shape;
  const size = rest.reduce((product, axis) => product * axis, 1);
  return { values: values.subarray(k * size, (k + 1) * size), shape: rest };
}

describe.skipIf(!available)(`loops of improved-diffusion${available ? '' : ' (skipped: no shared reference data)'}`, () => {
  test.each(fixed.map((one) => [one.id, one] as const))('%s', async (id, one) => {
    const golden = await loadGolden(join(folder, 'iddpm_loops.safetensors'));
    const stack = (name: string) => golden.get(`${id}/${name}`) as GoldenTensor;
    const upload = ({ values, shape }: { values: Float32Array; shape: readonly number[] }): Tensor =>
      device.tensor(values, shape, { layout: 'nchw' });
    const full =
      one.schedule === 'linear'
        ? NoiseSchedule.linear({ timesteps: one.T, rescaled: true })
        : NoiseSchedule.cosine({ timesteps: one.T });
    const diffusion = new GaussianDiffusion(device, full.respace(one.sections), {
      variance: 'fixedLarge',
      rescaleTimesteps: one.rescale_timesteps,
    });
    const seen: number[][] = [];
    const sampler = new Sampler(diffusion, tinyModel(one.model, seen), {
      method: one.kind === 'p_loop' ? 'ddpm' : 'ddim',
      eta: one.eta ?? 0,
    });
    const initial = upload(stack('x_T'));
    const steps = one.model_t.length;
    const noises = Array.from({ length: steps }, (_, k) => upload(entry(stack('noises'), k)));

    // The stated tolerances: relative to the example's largest value, 1e-5, with η > 0 5e-4.
    const relative = one.kind === 'p_loop' ? 1e-5 : 5e-4;
    let k = 0;
    for await (const { step, total, x, predXStart } of sampler.steps({ initial, noises })) {
      expect([step, total]).toEqual([k + 1, steps]);
      for (const [name, tensor] of [
        ['samples', x],
        ['pred_xstart', predXStart],
      ] as const) {
        const expected = entry(stack(name), k).values;
        const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
        expect(maxAbs((await tensor.read({ layout: 'nchw' })) as Float32Array, expected)).toBeLessThan(relative * largest);
      }
      k++;
    }
    expect(k).toBe(steps);
    expect(seen.map(([t]) => t)).toEqual(one.model_t.map(Math.fround));
  });
});
