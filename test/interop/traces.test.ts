import { describe, expect, test } from 'vitest';
import { NoiseSchedule } from '../../lib/diffusion/schedule.js';
import { openDevice } from '../../lib/openDevice.js';
import { scale, timestepEmbedding } from '../../lib/ops/index.js';
import { Sampler } from '../../lib/sampling/sampler.js';
import { maxAbs, maxRelative } from '../support/compare.js';
import { conform } from '../support/conformance.js';
import { eachDevice } from '../support/devices.js';

/** Numbers of diffusers 0.35 beside the reference files, printed with seven digits or so; lists and spot values. */
const file = 'interop';

interface Trace {
  scheduler: string;
  config?: object;
  /** x after each step, or after the last one. */
  x: number[];
}

const dpm = 'DPMSolverMultistepScheduler';
const clip_sample = false;
const leading = [1.68071, 2.632538, 3.847666, 5.246523, 6.657863, 7.825181, 8.462243, 8.355925, 7.443252, 7.406403];
const second = [1.805624, 2.787465, 3.993711, 5.434803, 7.016194, 8.576461, 9.806032, 10.385571, 10.088899, 8.936941];

/** Ten steps from x = 1 with ε = x/2. */
const traces: Record<string, Trace> = {
  'DDIM leading': { scheduler: 'DDIMScheduler', config: { clip_sample }, x: leading },
  'DDIM leading, clipped': { scheduler: 'DDIMScheduler', x: [0.619616] },
  'DDIM trailing': { scheduler: 'DDIMScheduler', config: { clip_sample, timestep_spacing: 'trailing' }, x: [13.292001] },
  'DPM-Solver++ 2M': { scheduler: dpm, x: second },
  'DPM-Solver++ order 3': { scheduler: dpm, config: { solver_order: 3 }, x: [9.517735] },
  'DPM-Solver++ order 1': { scheduler: dpm, config: { solver_order: 1 }, x: [13.286016] },
  'DPM-Solver++ 2M heun': { scheduler: dpm, config: { solver_type: 'heun' }, x: [8.410209] },
  'DPM-Solver++ 2M Karras': { scheduler: dpm, config: { use_karras_sigmas: true }, x: [5.37613] },
  Euler: { scheduler: 'EulerDiscreteScheduler', x: [13.878858] },
  Heun: { scheduler: 'HeunDiscreteScheduler', config: { beta_start: 1e-4, beta_end: 0.02 }, x: [6.608464] },
};

eachDevice((id, open) => {
  test.each(Object.keys(traces))('trace: %s', async (name) => {
    const device = await open();
    const { scheduler, config, x: expected } = traces[name] as Trace;
    using sampler = Sampler.fromDiffusers({ _class_name: scheduler, ...config }, device, (x) => scale(x, 0.5), { steps: 10 });
    const got: number[] = [];
    const initial = device.tensor(Float32Array.of(sampler.initialScale), [1, 1, 1, 1]);
    for await (const { x } of sampler.steps({ initial })) got.push((await x.read())[0] as number);
    const error = maxRelative(got.slice(-expected.length), expected);
    conform({ file, id: `trace ${name}`, device: id }, 'x, max relative', error, 1e-4);
  });

  test('embeddings of a time', async () => {
    const device = await open();
    const t = device.tensor(Float32Array.of(500), [1]);
    const expected = {
      'flip, shift 0': [-0.8838493, 0.964965, 0.2836622, 0.8775826, -0.4677718, -0.2623785, -0.9589243, 0.4794255],
      'no flip, shift 1': [-0.4677718, -0.9379936, 0.8806428, 0.0499792, -0.8838493, -0.3466526, 0.4737807, 0.9987503],
    };
    for (const [name, values] of Object.entries(expected)) {
      const options = name.startsWith('no') ? { flipSinToCos: false, freqShift: 1 } : {};
      const error = maxAbs(await timestepEmbedding(t, 8, options).read(), values);
      conform({ file, id: `embedding of t = 500, ${name}`, device: id }, 'max abs', error, 1e-4);
    }
  });
});

describe('schedules', () => {
  const check = (id: string, got: ArrayLike<number>, expected: number[], tolerance = 2e-5) =>
    conform({ file, id, device: 'host' }, 'max relative', maxRelative(got, expected), tolerance);

  test('spot values', () => {
    const alphasCumprod = (schedule: NoiseSchedule) => [500, 999].map((t) => schedule.alphasCumprod[t] as number);
    check('linear schedule', alphasCumprod(NoiseSchedule.linear()), [0.077796653, 4.0358304e-5]);
    check('scaled linear schedule', alphasCumprod(NoiseSchedule.scaledLinear()), [0.33127463, 7.3341199e-4]);
    check('cosine schedule', alphasCumprod(NoiseSchedule.cosine()), [0.49228504, 2.428735e-9]);
    check('cosine schedule, last beta', [NoiseSchedule.cosine().betas[999] as number], [0.999]);
    check('sigmoid schedule', alphasCumprod(NoiseSchedule.sigmoid()), [0.29888758, 3.9681821e-5]);
    expect(NoiseSchedule.linear().rescaleZeroTerminalSnr().alphasCumprod[999]).toBe(0);
  });

  test('coefficients of DDPM at t = 500', () => {
    const at = (schedule: NoiseSchedule, t: number) =>
      [schedule.posteriorMeanCoef1, schedule.posteriorMeanCoef2, schedule.posteriorVariance, schedule.betas].map(
        (table) => table[t] as number,
      );
    const linear = NoiseSchedule.linear();
    check('DDPM from 500 to 499', at(linear, 500), [0.003058044, 0.994104376, 0.0100512936, 0.0100599177]);
    const ten = linear.respace({ steps: 10, spacing: 'leading' });
    check('DDPM from 500 to 400', at(ten, 5), [0.285343543, 0.554367986, 0.523012935, 0.598099596]);
  });

  test("Karras's noise levels", async () => {
    const device = await openDevice('cpu');
    const config = { _class_name: dpm, use_karras_sigmas: true };
    using sampler = Sampler.fromDiffusers(config, device, (x) => x, { steps: 10 });
    expect([...sampler.timesteps]).toEqual([999, 937, 864, 775, 663, 511, 301, 102, 18, 0]);
    const sigmas = [157.40727, 85.71073, 44.04765, 21.1056, 9.27474, 3.65264, 1.24636, 0.34971, 0.07393];
    check("Karras's noise levels", sampler.sigmas?.subarray(0, 9) ?? [], sigmas, 5e-5);
    expect(sampler.sigmas?.[9]).toBeCloseTo(0.01, 5);
    expect(sampler.sigmas?.[10]).toBe(0);
    await device.close();
  });
});
