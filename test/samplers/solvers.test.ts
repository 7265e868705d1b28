import { expect, test } from 'vitest';
import { GaussianDiffusion } from '../../lib/diffusion/gaussian.js';
import { NoiseSchedule } from '../../lib/diffusion/schedule.js';
import { scale } from '../../lib/ops/index.js';
import { streams } from '../../lib/random.js';
import type { SamplerOptions } from '../../lib/sampling/options.js';
import { Sampler } from '../../lib/sampling/sampler.js';
import { relL2 } from '../support/compare.js';
import { eachDevice } from '../support/devices.js';
import { normals } from '../support/philox.js';
import { tinyCoefficients, tinyModel, tinyParameters } from '../support/tinyModel.js';
import { ancestral, dpmSolver, karras, type Predict } from './referenceSolvers.js';

const seed = 2 ** 33 + 5;
const shape = [3, 5, 3, 1] as const;
const size = 5 * 3;
const schedule = NoiseSchedule.linear({ timesteps: 61, betaEnd: 0.15 });
const levels = [...schedule.alphasCumprod].map((alphaBar) => Math.sqrt((1 - alphaBar) / alphaBar));

/** The level at a fractional step, between two of the schedule. */
function levelAt(t: number): number {
  const low = Math.min(Math.floor(t), levels.length - 2);
  return (levels[low] as number) * (1 - (t - low)) + (levels[low + 1] as number) * (t - low);
}

/** The fractional step of a level: log σ is a straight line between two steps. */
function stepAt(sigma: number): number {
  const low = Math.max(0, Math.min(levels.filter((level) => level <= sigma).length - 1, levels.length - 2));
  const [from, to] = [Math.log(levels[low] as number), Math.log(levels[low + 1] as number)];
  return low + Math.min(1, Math.max(0, (Math.log(sigma) - from) / (to - from)));
}

const draw = (stream: number, step: number) =>
  Float64Array.from([0, 1, 2].flatMap((sample) => [...normals({ seed, stream, step }, sample, size)]));

interface Process {
  prediction: 'epsilon' | 'sample' | 'v';
  clip: boolean;
  denoised: boolean;
}

/** What the tiny model predicts of x_0 + σ·ε: it sees x/√(1 + σ²). */
function predictOf({ prediction, clip, denoised }: Process, timestepOf: (sigma: number) => number): Predict {
  return (x, sigma) => {
    const [g, h] = tinyCoefficients(tinyParameters, timestepOf(sigma));
    const [alpha, deviation] = [1 / Math.sqrt(1 + sigma ** 2), sigma / Math.sqrt(1 + sigma ** 2)];
    return x.map((value) => {
      const seen = alpha * value;
      const output = g * seen + h;
      let start = output;
      if (prediction === 'epsilon') start = (seen - deviation * output) / alpha;
      if (prediction === 'v') start = alpha * seen - deviation * output;
      if (denoised) start = 0.8 * start + 0.1;
      return clip ? Math.min(1, Math.max(-1, start)) : start;
    });
  };
}

const plain: Process = { prediction: 'epsilon', clip: true, denoised: false };
const changed: Process = { prediction: 'v', clip: false, denoised: true };
const churn = { sChurn: 4, sTmin: 0.05, sTmax: 9, sNoise: 1.007 };
const seven = { steps: 7 };
const odd = [60, 50, 40, 30, 20, 10, 0];
const trailing = [60, 51, 43, 34, 25, 16, 8];
const third = Array.from({ length: 9 }, (_, i) => 60 - 7.5 * i);

const cases: [SamplerOptions, Process, number[]][] = [
  [{ method: 'euler', ...seven }, plain, odd],
  [{ method: 'euler', steps: 9 }, { ...plain, prediction: 'v', clip: false }, third],
  [
    { method: 'euler', ...seven, spacing: 'trailing', finalSigmasType: 'sigma_min' },
    { ...plain, prediction: 'sample' },
    trailing,
  ],
  [{ method: 'euler', ...seven, ...churn }, plain, odd],
  [{ method: 'euler', steps: 9, ...churn, sTmax: 2 }, changed, third],
  [{ method: 'euler', ...seven }, { ...plain, denoised: true }, odd],
  [{ method: 'eulerAncestral', ...seven }, plain, odd],
  [{ method: 'eulerAncestral', steps: 9 }, { ...plain, prediction: 'v', clip: false }, third],
  [{ method: 'eulerAncestral', ...seven, spacing: 'trailing' }, { ...plain, denoised: true }, trailing],
  [{ method: 'heun', ...seven }, plain, odd],
  [{ method: 'heun', steps: 9 }, { ...plain, prediction: 'v', clip: false }, third],
  [{ method: 'heun', ...seven, spacing: 'trailing', ...churn }, { ...plain, prediction: 'sample' }, trailing],
  [{ method: 'heun', steps: 9, ...churn }, { ...plain, denoised: true }, third],
  [{ method: 'dpmSolver++', order: 1, ...seven, spacing: 'article' }, { ...plain, denoised: true }, odd],
  [{ method: 'dpmSolver++', order: 2, ...seven, spacing: 'article' }, changed, odd],
  [{ method: 'dpmSolver++', order: 3, ...seven, spacing: 'article' }, { ...plain, denoised: true }, odd],
  [{ method: 'dpmSolver++', order: 3, ...seven, spacing: 'article' }, { ...plain, prediction: 'sample' }, odd],
];

function reference({ method, order = 2, finalSigmasType, ...options }: SamplerOptions, process: Process, timesteps: number[]) {
  const listed = timesteps.map(levelAt);
  const sigmas = [...listed, finalSigmasType ? (levels[0] as number) : 0];
  const exact = new Map(listed.map((sigma, k) => [sigma, timesteps[k] as number]));
  const predict = predictOf(process, (sigma) => exact.get(sigma) ?? stepAt(sigma));
  const solver = method === 'dpmSolver++';
  const first = sigmas[0] as number;
  const x = draw(streams.initialSample, 0).map((value) => value * (solver ? Math.sqrt(1 + first ** 2) : first));
  const task = { ...options, sigmas, predict, x, draw: (k: number) => draw(streams.samplerNoise, k) };
  // The solver's own scale is α times that.
  if (solver)
    return dpmSolver(task, order).map((x, k) => x.map((value) => value / Math.sqrt(1 + (sigmas[k + 1] as number) ** 2)));
  return method === 'eulerAncestral' ? ancestral(task) : karras(task, method === 'heun');
}

eachDevice((_, open) => {
  test.each(cases)('%o of %o', async (options, process, timesteps) => {
    const device = await open();
    const { prediction, clip, denoised } = process;
    using diffusion = new GaussianDiffusion(device, schedule, {
      ...{ prediction, clipDenoised: clip },
      ...(denoised && { denoisedFn: (start) => scale(start, 0.8, 0.1) }),
    });
    using sampler = new Sampler(diffusion, tinyModel(tinyParameters), { ...options, shape: [5, 3, 1] });
    const expected = reference(options, process, timesteps);
    // float32 with rounding errors of 2^-24 in some ten evaluations
    const check = (values: Float32Array, k: number) =>
      expect(relL2(values, expected[k] as Float64Array), `after evaluation ${k + 1}`).toBeLessThan(2e-5);
    let k = 0;
    for await (const { x } of sampler.steps({ count: 3, seed })) check((await x.read()) as Float32Array, k++);
    expect(k).toBe(expected.length);
    using images = await sampler.sample({ count: 3, seed, batchSize: 2 });
    expect(images.shape).toEqual(shape);
    check((await images.read()) as Float32Array, expected.length - 1);
  });
});
