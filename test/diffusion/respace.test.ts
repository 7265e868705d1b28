import { describe, expect, test } from 'vitest';
import { NoiseSchedule } from '../../lib/diffusion/schedule.js';
import { OptionError } from '../../lib/errors.js';
import { maxRelative } from '../support/compare.js';
import { caseId, conform } from '../support/conformance.js';
import { loadGoldenJson } from '../support/golden.js';
import { conformSchedule, type ScheduleNumbers } from './process.js';

const linear = (timesteps: number) => NoiseSchedule.linear({ timesteps });

interface RespacedCase extends ScheduleNumbers {
  id: string;
  T: number;
  schedule: 'linear' | 'cosine';
  sections: string;
  timestep_map: number[];
}

test.each(loadGoldenJson<{ cases: RespacedCase[] }>('schedules/respaced.json').cases.map((item) => [item.id, item] as const))(
  'improved-diffusion: %s',
  (_, item) => {
    const original =
      item.schedule === 'cosine'
        ? NoiseSchedule.cosine({ timesteps: item.T })
        : NoiseSchedule.linear({ timesteps: item.T, rescaled: true });
    const respaced = original.respace(item.sections);
    expect(Array.from(respaced.timesteps)).toEqual(item.timestep_map);
    expect(respaced.originalTimesteps).toBe(item.T);
    conformSchedule({ file: 'schedules/respaced', id: item.id, device: 'host' }, respaced, item, 1e-10);
  },
);

describe('space_timesteps of improved-diffusion', () => {
  type Case = { T: number; sections: string; timesteps?: number[]; error?: string };
  test.each(loadGoldenJson<{ cases: Case[] }>('schedules/space_timesteps.json').cases)('T = $T, $sections', (item) => {
    const reference = { file: 'schedules/space_timesteps', id: caseId(item), device: 'host' };
    if (item.error) {
      expect(() => linear(item.T).respace(item.sections)).toThrow(OptionError);
      conform(reference, 'is refused', 0, 0);
      return;
    }
    const kept = Array.from(linear(item.T).respace(item.sections).timesteps);
    conform(reference, 'steps that differ', kept.filter((t, i) => t !== item.timesteps?.[i]).length, 0);
    expect(kept).toEqual(item.timesteps);
    if (item.sections.includes('ddim')) return;
    const counts = item.sections.split(',').map(Number);
    expect(Array.from(linear(item.T).respace(counts).timesteps)).toEqual(item.timesteps);
  });
});

describe('set_timesteps of diffusers', () => {
  type Spacing = 'leading' | 'linspace' | 'trailing';
  type Case = {
    cls: string;
    T: number;
    N: number;
    spacing: Spacing;
    offset: number;
    timesteps: number[];
    upstream_float_bug?: string;
  };
  const { cases } = loadGoldenJson<{ cases: Case[] }>('schedulers/timesteps.json');
  const rows = cases.filter(({ cls, spacing, offset }) => cls === 'DDPMScheduler' && (spacing === 'leading' || offset === 0));

  test.each(rows)('T = $T, $N $spacing + $offset', ({ T, N, spacing, offset, timesteps, upstream_float_bug }) => {
    const respace = () => linear(T).respace({ steps: N, spacing, offset });
    if (Math.max(...timesteps) >= T) {
      expect(respace).toThrow(/beyond/);
      return;
    }
    // The flagged rows hold one step too many, -1; the others list steps from high to low.
    const expected = upstream_float_bug ? timesteps.filter((t) => t >= 0) : timesteps;
    expect(Array.from(respace().timesteps).reverse()).toEqual(expected);
  });
});

test.each([
  [1000, 100],
  [1000, 7],
  [37, 9],
  [10, 10],
  [5, 3],
  [4, 3],
])('respace(number) of T = %i to %i is round(i·(T-1)/(S-1)), halves to even', (T, S) => {
  const expected = Array.from({ length: S }, (_, i) => {
    const twice = (2 * i * (T - 1)) / (S - 1);
    const isHalf = Number.isInteger(twice) && twice % 2 === 1;
    return isHalf ? 2 * Math.round(twice / 4) : Math.round(twice / 2);
  });
  expect(Array.from(linear(T).respace(S).timesteps)).toEqual(expected);
});

test('halves go to the even step', () => {
  expect(Array.from(linear(4).respace(3).timesteps)).toEqual([0, 2, 3]);
  expect(Array.from(linear(6).respace(3).timesteps)).toEqual([0, 2, 5]);
});

test('a single step is the first one, as in the references', () => {
  expect(Array.from(linear(1000).respace(1).timesteps)).toEqual([0]);
});

test('{ steps } alone is leading', () => {
  expect(Array.from(linear(1000).respace({ steps: 4 }).timesteps)).toEqual([0, 250, 500, 750]);
});

test('respacing by all steps changes nothing but rounding', () => {
  const schedule = NoiseSchedule.cosine({ timesteps: 53 });
  const same = schedule.respace(53);
  expect(same.timesteps).toEqual(schedule.timesteps);
  expect(maxRelative(same.alphasCumprod, schedule.alphasCumprod)).toBeLessThanOrEqual(1e-12);
});

test('respacing twice maps to the steps of the first schedule', () => {
  const once = linear(1000).respace('ddim50');
  const twice = once.respace(5);
  expect(Array.from(twice.timesteps)).toEqual([0, 240, 480, 740, 980]);
  expect(twice.originalTimesteps).toBe(1000);
  expect(Array.from(twice.alphasCumprod)).toEqual(
    Array.from(twice.timesteps, (t) => expect.closeTo(linear(1000).alphasCumprod[t] as number, 12)),
  );
});

test.each([
  ['more steps than there are', 11, /has 10 steps, cannot keep 11/],
  ['more spaced steps', { steps: 11 }, /has 10 steps, cannot keep 11/],
  ['zero', 0, /the number of steps must be an integer of at least 1, got 0/],
  ['a fraction', 2.5, /got 2\.5/],
  ['NaN', Number.NaN, /got NaN/],
  ['a word', 'fast', /must be 'ddimN' or counts .* got 'fast'/],
  ['ddim without a stride', 'ddim6', /none divides 10 steps into 6/],
  ['no sections', [], /at least one count/],
  ['empty sections', [0, 0], /must keep at least one step/],
  ['an overfull section', [2, 6], /section 1 has 5 of 10 steps, cannot keep 6/],
  ['a negative section', [2, -1], /the count of section 1 must be an integer of at least 0, got -1/],
  ['an unknown option', { steps: 2, stride: 5 }, /unknown option 'stride'/],
  ['an unknown spacing', { steps: 2, spacing: 'even' }, /'spacing' must be one of 'leading', 'linspace', 'trailing', got 'even'/],
  ['an offset beyond the end', { steps: 10, offset: 1 }, /moves the last step to 10, beyond 9/],
  ['an offset of another spacing', { steps: 2, spacing: 'linspace', offset: 1 }, /'offset' goes only with spacing 'leading'/],
  ['nothing', undefined, /must be a number of steps.* got undefined/],
])('%s is an OptionError', (_, respacing, message) => {
  expect(() => linear(10).respace(respacing as never)).toThrow(OptionError);
  expect(() => linear(10).respace(respacing as never)).toThrow(message);
});
