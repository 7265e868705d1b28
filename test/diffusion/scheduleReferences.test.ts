import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { NoiseSchedule } from '../../lib/diffusion/schedule.js';
import { processOf } from '../../lib/files/schedulerConfig.js';
import { singlePrecision } from '../../lib/sampling/noiseLevels.js';
import { maxAbs, maxRelative } from '../support/compare.js';
import { conform, type ReferenceCase } from '../support/conformance.js';
import { loadGoldenJson } from '../support/golden.js';
import { fullestPath, goldenPath, withSharedGolden } from '../support/shared.js';
import { conformSchedule, type ScheduleNumbers } from './process.js';

interface Reference extends ScheduleNumbers {
  T: number;
  schedule?: 'linear' | 'cosine';
  beta_start?: number;
  beta_end?: number;
  s?: number;
  max_beta?: number;
  indices?: number[];
}

const files = [
  'custom_cosine_T300_s0.02_max0.99',
  'custom_linear_T250_5e-4_0.03',
  'iddpm_cosine_T1000',
  'iddpm_cosine_T200',
  'iddpm_cosine_T4000',
  'iddpm_linear_T1000',
  'iddpm_linear_T200',
  'iddpm_linear_T4000',
];
const copied = files.filter((file) => file !== 'iddpm_linear_T4000');

function build(reference: Reference): NoiseSchedule {
  const { T: timesteps, schedule, beta_start: betaStart, beta_end: betaEnd, s, max_beta: maxBeta } = reference;
  if (betaStart === undefined) return NoiseSchedule.cosine({ timesteps, s, maxBeta });
  // A named linear schedule is rescaled by 1000/T, a custom one is not; beta_start is the value after scaling or before.
  const named = schedule === 'linear';
  return NoiseSchedule.linear({
    timesteps,
    betaStart: named ? 1e-4 : betaStart,
    betaEnd: named ? 0.02 : betaEnd,
    rescaled: named,
  });
}

function checkAgainst(file: string, reference: Reference): void {
  const schedule = build(reference);
  const indices = reference.indices ?? Array.from({ length: reference.T }, (_, t) => t);
  expect(schedule.length).toBe(reference.T);
  conformSchedule({ file: `schedules/${file}`, id: file, device: 'host' }, schedule, reference, 1e-12, indices);
}

describe('against improved-diffusion', () => {
  test.each(copied)('%s', (file) => checkAgainst(file, loadGoldenJson(goldenPath(`schedules/${file}.json`))));

  withSharedGolden('every entry', (folder) => {
    test.each(files)('%s', (file) => checkAgainst(file, loadGoldenJson(join(folder, 'schedules', `${file}.json`))));
  });
});

describe('against diffusers (float32)', () => {
  const kinds = {
    linear: 'linear',
    scaled_linear: 'scaledLinear',
    sigmoid: 'sigmoid',
    squaredcos_cap_v2: 'cosine',
    exp: null,
  } as const;
  type Case = Reference & {
    id: string;
    beta_schedule: keyof typeof kinds;
    num_train_timesteps: number;
    rescale_betas_zero_snr?: boolean;
  };
  const { cases } = loadGoldenJson<{ cases: Case[] }>(fullestPath('schedules/diffusers_0_20_2.json'));
  const reference = (id: string): ReferenceCase => ({ file: 'schedules/diffusers_0_20_2', id, device: 'host' });

  function make({
    num_train_timesteps: timesteps,
    beta_start: betaStart,
    beta_end: betaEnd,
    beta_schedule,
  }: Case): NoiseSchedule {
    const kind = kinds[beta_schedule];
    if (kind === 'cosine') return NoiseSchedule.cosine({ timesteps });
    if (kind !== null) return NoiseSchedule[kind]({ timesteps, betaStart, betaEnd });
    return processOf({ beta_schedule, num_train_timesteps: timesteps }, 'the configuration').schedule;
  }

  test.each(cases.filter((item) => !item.rescale_betas_zero_snr).map((item) => [item.id, item] as const))('%s', (id, item) => {
    const schedule = make(item);
    conform(reference(id), 'betas, max relative', maxRelative(schedule.betas, item.betas), 2e-5);
    // The betas of exp are all alike, so that the roundings of 1 - β to float32 add up; samplers of diffusers follow them.
    const alphas = item.beta_schedule === 'exp' ? singlePrecision(schedule.betas) : schedule.alphasCumprod;
    conform(reference(id), 'alphasCumprod, max relative', maxRelative(alphas, item.alphas_cumprod), 2e-5);
  });

  test.each(cases.filter((item) => item.rescale_betas_zero_snr).map((item) => [item.id, item] as const))('%s', (id, item) => {
    const schedule = make(item).rescaleZeroTerminalSnr();
    // 2e-5 as for the others; where √ᾱ has been shifted next to zero, float32 leaves 1e-6 of 1.
    const error = (ours: Float64Array, theirs: number[]) =>
      maxAbs(
        ours.map((value, t) => (value - (theirs[t] as number)) / Math.max(Math.abs(theirs[t] as number), 0.05)),
        ours.map(() => 0),
      );
    conform(reference(id), 'betas, max of max(value, 0.05)', error(schedule.betas, item.betas), 2e-5);
    conform(reference(id), 'alphasCumprod, max of max(value, 0.05)', error(schedule.alphasCumprod, item.alphas_cumprod), 2e-5);
    for (const { alphasCumprod, posteriorVariance, posteriorMeanCoef1 } of [schedule, NoiseSchedule.fromBetas(item.betas)]) {
      expect(alphasCumprod.at(-1)).toBe(0);
      expect([posteriorVariance, posteriorMeanCoef1].every((table) => table.every(Number.isFinite))).toBe(true);
    }
    expect(schedule.alphasCumprod[0]).toBeCloseTo(make(item).alphasCumprod[0] as number, 14);
    expect(schedule.rescaleZeroTerminalSnr()).toBe(schedule);
  });
});

describe('against lucidrains', () => {
  type Case = Reference & { id: string; start?: number; end?: number; tau?: number };
  const { cases } = loadGoldenJson<{ cases: Case[] }>('schedules/lucidrains.json');
  test.each(cases.map((item) => [item.id, item] as const))('%s', (id, { T: timesteps, start, end, tau, s, ...item }) => {
    const sigmoid = start !== undefined;
    const schedule = sigmoid
      ? NoiseSchedule.lucidrainsSigmoid({ timesteps, start, end, tau })
      : NoiseSchedule.cosine({ timesteps, s });
    const reference = { file: 'schedules/lucidrains', id, device: 'host' };
    // Near its end the sigmoid depends on σ(end/τ), which lucidrains rounds to float32.
    const tolerance = sigmoid ? 1e-3 : 1e-12;
    // PyTorch's cosine is off by a digit here and there, and with it 1 - β by 2^-52.
    const beyond = schedule.betas.map((beta, t) => {
      const expected = item.betas[t] as number;
      return Math.max(0, Math.abs(beta - expected) - 2 ** -52) / expected;
    });
    conform(reference, 'betas, max relative beyond 2^-52', Math.max(...beyond), tolerance);
    conform(reference, 'alphasCumprod, max relative', maxRelative(schedule.alphasCumprod, item.alphas_cumprod), tolerance);
  });
});
