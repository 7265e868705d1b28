import { expect, test } from 'vitest';
import { NoiseSchedule } from '../../lib/diffusion/schedule.js';
import { OptionError } from '../../lib/errors.js';

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
  ['lucidrainsSigmoid', NoiseSchedule.lucidrainsSigmoid({ timesteps: 13, start: 0, tau: 0.5 })],
  ['betas', NoiseSchedule.fromBetas([0.1, 1 / 3, 0.7, 1])],
  ['zero terminal SNR', NoiseSchedule.scaledLinear({ timesteps: 29 }).rescaleZeroTerminalSnr()],
  ['zero terminal SNR, respaced', NoiseSchedule.linear({ timesteps: 29 }).rescaleZeroTerminalSnr().respace('ddim10')],
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
  ['a curve that rises', () => NoiseSchedule.lucidrainsSigmoid({ start: 3 }), /'start' must be below 'end', got 3 and 3/],
  ['rescaling after respacing', () => NoiseSchedule.linear().respace(5).rescaleZeroTerminalSnr(), /has been respaced/],
  ['rescaling a single step', () => NoiseSchedule.fromBetas([0.1]).rescaleZeroTerminalSnr(), /at least 2 steps, got 1/],
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
