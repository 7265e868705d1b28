import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { NoiseSchedule } from '../../lib/diffusion/schedule.js';
import { OptionError } from '../../lib/errors.js';
import { maxRelative } from '../support/compare.js';
import { loadGoldenJson } from '../support/golden.js';
import { goldenPath, sharedGolden } from '../support/shared.js';

interface Reference {
  T: number;
  schedule?: 'linear' | 'cosine';
  beta_start?: number;
  beta_end?: number;
  s?: number;
  max_beta?: number;
  indices?: number[];
  betas: number[];
  alphas_cumprod: number[];
  posterior_variance: number[];
  posterior_log_variance_clipped: number[];
  posterior_mean_coef1: number[];
  posterior_mean_coef2: number[];
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
const copied = files.filter((file) => file !== 'iddpm_cosine_T200' && file !== 'iddpm_linear_T4000');

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

function checkAgainst(reference: Reference): void {
  const schedule = build(reference);
  const indices = reference.indices ?? Array.from({ length: reference.T }, (_, t) => t);
  const pick = (values: Float64Array) => indices.map((t) => values[t] as number);
  expect(schedule.length).toBe(reference.T);
  expect(maxRelative(pick(schedule.alphasCumprod), reference.alphas_cumprod)).toBeLessThanOrEqual(1e-12);
  expect(maxRelative(pick(schedule.betas), reference.betas)).toBeLessThanOrEqual(5e-11);
  expect(maxRelative(pick(schedule.posteriorVariance), reference.posterior_variance)).toBeLessThanOrEqual(5e-11);
  const logVariance = pick(schedule.posteriorLogVarianceClipped);
  expect(maxRelative(logVariance, reference.posterior_log_variance_clipped)).toBeLessThanOrEqual(5e-11);
  expect(maxRelative(pick(schedule.posteriorMeanCoef1), reference.posterior_mean_coef1)).toBeLessThanOrEqual(5e-11);
  expect(maxRelative(pick(schedule.posteriorMeanCoef2), reference.posterior_mean_coef2)).toBeLessThanOrEqual(5e-11);
}

describe('against improved-diffusion', () => {
  test.each(copied)('%s', (file) => checkAgainst(loadGoldenJson(goldenPath(`schedules/${file}.json`))));

  test.skipIf(sharedGolden === null).each(files)('%s, every entry', (file) => {
    checkAgainst(loadGoldenJson(join(sharedGolden as string, 'schedules', `${file}.json`)));
  });
});

describe('against diffusers (float32)', () => {
  const kinds = { linear: 'linear', scaled_linear: 'scaledLinear', sigmoid: 'sigmoid', squaredcos_cap_v2: 'cosine' } as const;
  type Case = { id: string; beta_schedule: keyof typeof kinds; num_train_timesteps: number; betas: number[] } & Reference;
  const path = sharedGolden ? join(sharedGolden, 'schedules', 'diffusers_0_20_2.json') : 'schedules/diffusers_0_20_2.json';
  const cases = loadGoldenJson<{ cases: (Case & { rescale_betas_zero_snr?: boolean })[] }>(path).cases;
  const known = cases.filter((item) => item.beta_schedule in kinds && !item.rescale_betas_zero_snr);

  test.each(known.map((item) => [item.id, item] as const))('%s', (_, item) => {
    const timesteps = item.num_train_timesteps;
    const range = { timesteps, betaStart: item.beta_start, betaEnd: item.beta_end };
    const kind = kinds[item.beta_schedule];
    const schedule = kind === 'cosine' ? NoiseSchedule.cosine({ timesteps }) : NoiseSchedule[kind](range);
    expect(maxRelative(schedule.betas, item.betas)).toBeLessThanOrEqual(2e-5);
    expect(maxRelative(schedule.alphasCumprod, item.alphas_cumprod)).toBeLessThanOrEqual(2e-5);
  });

  test.each(cases.filter((item) => item.rescale_betas_zero_snr).map((item) => [item.id, item] as const))(
    '%s: a last beta of 1 is a schedule',
    (_, item) => {
      const schedule = NoiseSchedule.fromBetas(item.betas);
      expect(schedule.alphasCumprod.at(-1)).toBe(0);
      expect([schedule.posteriorVariance, schedule.posteriorMeanCoef1].every((table) => table.every(Number.isFinite))).toBe(true);
    },
  );
});

test('the defaults are those of Ho et al. and of Nichol & Dhariwal', () => {
  expect(NoiseSchedule.linear().toJSON()).toEqual({
    kind: 'linear',
    options: { timesteps: 1000, betaStart: 1e-4, betaEnd: 0.02, rescaled: false },
  });
  expect(NoiseSchedule.cosine().toJSON()).toEqual({ kind: 'cosine', options: { timesteps: 1000, s: 0.008, maxBeta: 0.999 } });
});

test('a schedule that is not respaced maps every step to itself', () => {
  const schedule = NoiseSchedule.scaledLinear({ timesteps: 7 });
  expect(schedule.timesteps).toEqual(Int32Array.of(0, 1, 2, 3, 4, 5, 6));
  expect(schedule.originalTimesteps).toBe(7);
  expect(schedule.alphasCumprodPrev).toEqual(Float64Array.of(1, ...schedule.alphasCumprod.subarray(0, 6)));
});

test('a single step has finite tables', () => {
  const schedule = NoiseSchedule.fromBetas([0.25]);
  expect(schedule.alphasCumprod).toEqual(Float64Array.of(0.75));
  expect(schedule.posteriorLogVarianceClipped).toEqual(Float64Array.of(Math.log(0.25)));
  expect(NoiseSchedule.linear({ timesteps: 1 }).betas).toEqual(Float64Array.of(1e-4));
});

test('fromBetas copies', () => {
  const betas = Float64Array.of(0.1, 0.2);
  const schedule = NoiseSchedule.fromBetas(betas);
  betas[0] = 0.9;
  expect(schedule.betas[0]).toBe(0.1);
  expect(schedule.alphasCumprod[1]).toBeCloseTo(0.72, 15);
});

test.each([
  ['linear', NoiseSchedule.linear({ timesteps: 37, rescaled: true, betaEnd: 0.01 })],
  ['cosine', NoiseSchedule.cosine({ timesteps: 41, s: 0.01, maxBeta: 0.9 })],
  ['scaledLinear', NoiseSchedule.scaledLinear({ timesteps: 11 })],
  ['sigmoid', NoiseSchedule.sigmoid({ timesteps: 13 })],
  ['betas', NoiseSchedule.fromBetas([0.1, 1 / 3, 0.7, 1])],
  ['respaced twice', NoiseSchedule.cosine({ timesteps: 100 }).respace([3, 20, 7]).respace({ steps: 6, spacing: 'trailing' })],
  ['respaced betas', NoiseSchedule.fromBetas([0.1, 1 / 3, 0.7, 1]).respace(3)],
])('JSON rebuilds %s bit for bit', (_, schedule) => {
  const rebuilt = NoiseSchedule.fromJSON(JSON.parse(JSON.stringify(schedule)));
  expect(rebuilt.betas).toEqual(schedule.betas);
  expect(rebuilt.timesteps).toEqual(schedule.timesteps);
  expect(rebuilt.originalTimesteps).toBe(schedule.originalTimesteps);
});

test.each([
  ['an unknown option', () => NoiseSchedule.linear({ steps: 10 } as object), /linear: unknown option 'steps'/],
  ['no steps', () => NoiseSchedule.linear({ timesteps: 0 }), /'timesteps' must be an integer between 1 and 1000000, got 0/],
  ['a fraction of a step', () => NoiseSchedule.cosine({ timesteps: 2.5 }), /'timesteps'.*got 2\.5/],
  ['a beta of zero', () => NoiseSchedule.linear({ betaStart: 0 }), /'betaStart' must be .* above 0, got 0/],
  ['a beta beyond 1', () => NoiseSchedule.linear({ betaEnd: 1.5 }), /linear: every beta must lie in \(0, 1\]/],
  ['rescaling beyond 1', () => NoiseSchedule.linear({ timesteps: 10, rescaled: true }), /every beta .* betas\[5\] = 1\.1/],
  ['a maximum of 0', () => NoiseSchedule.cosine({ maxBeta: 0 }), /'maxBeta' must be a number above 0 and at most 1, got 0/],
  ['an option of another kind', () => NoiseSchedule.sigmoid({ s: 1 } as object), /sigmoid: unknown option 's'/],
  ['no betas', () => NoiseSchedule.fromBetas([]), /fromBetas: betas must hold at least one value/],
  ['NaN', () => NoiseSchedule.fromBetas([0.1, Number.NaN]), /betas\[1\] = NaN/],
  ['a negative beta', () => NoiseSchedule.fromBetas(Float64Array.of(0.1, -0.1)), /betas\[1\] = -0\.1/],
  ['a text', () => NoiseSchedule.fromBetas(['0.1'] as never), /betas\[0\] must be a number, got '0\.1'/],
  ['no array', () => NoiseSchedule.fromBetas(3 as never), /must be a Float64Array or an array of numbers, got 3/],
  ['an unknown kind', () => NoiseSchedule.fromJSON({ kind: 'cubic', options: {} }), /'kind' must be one of .* got 'cubic'/],
  ['no JSON object', () => NoiseSchedule.fromJSON('linear'), /fromJSON: options must be an object, got 'linear'/],
])('%s is an OptionError', (_, make, message) => {
  expect(make).toThrow(OptionError);
  expect(make).toThrow(message);
});
