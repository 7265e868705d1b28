import * as v from 'valibot';
import { OptionError } from '../errors.js';
import { integer, oneOf, parseOptions, show } from '../options.js';

/** Evenly spaced steps as the schedulers of diffusers choose them. */
export interface SpacedSteps {
  /** How many steps to keep. */
  steps: number;
  /** 'leading': multiples of ⌊T/steps⌋; 'linspace': first and last step included; 'trailing': counted back from the last step. */
  spacing?: 'leading' | 'linspace' | 'trailing';
  /** Added to every step; only with 'leading' (`steps_offset` of diffusers); 0. */
  offset?: number;
}

/**
 * Which steps of a schedule to keep: a count; 'ddimN'; counts for equal sections as '10,15,20' or [10, 15, 20]; or `SpacedSteps`.
 */
export type Respacing = number | string | readonly number[] | SpacedSteps;

const owner = 'schedule.respace';
const spacedSchema = v.strictObject({
  steps: integer(1),
  spacing: v.optional(oneOf('leading', 'linspace', 'trailing'), 'leading'),
  offset: v.optional(integer(0), 0),
});

/** Checks the form of a respacing, with defaults filled in. Throws OptionError. */
export function parseRespacing(respacing: unknown): Respacing {
  if (typeof respacing === 'number') return checkCount(respacing, 1, 'the number of steps');
  if (Array.isArray(respacing)) {
    if (respacing.length === 0) throw new OptionError(`${owner}: sections must hold at least one count, got []`);
    return respacing.map((count, i) => checkCount(count, 0, `the count of section ${i}`));
  }
  if (typeof respacing === 'string') {
    if (/^ddim\d+$|^\s*\d+\s*(,\s*\d+\s*)*$/.test(respacing)) return respacing;
    throw new OptionError(`${owner}: must be 'ddimN' or counts such as '100' or '10,15,20', got ${show(respacing)}`);
  }
  if (respacing === null || typeof respacing !== 'object') {
    throw new OptionError(
      `${owner}: must be a number of steps, 'ddimN', section counts or { steps, spacing, offset }, got ${show(respacing)}`,
    );
  }
  const spaced = parseOptions(owner, spacedSchema, respacing);
  if (spaced.offset !== 0 && spaced.spacing !== 'leading') {
    throw new OptionError(`${owner}: option 'offset' goes only with spacing 'leading', got spacing '${spaced.spacing}'`);
  }
  return spaced;
}

/** The steps kept of a schedule of `T` steps, ascending. Throws OptionError when `T` steps do not suffice. */
export function selectTimesteps(T: number, respacing: Respacing): number[] {
  if (typeof respacing === 'number') return evenlySpaced(T, respacing);
  if (typeof respacing === 'string') {
    const ddim = /^ddim(\d+)$/.exec(respacing);
    return ddim ? integerStride(T, Number(ddim[1])) : sectioned(T, respacing.split(',').map(Number));
  }
  if (isSections(respacing)) return sectioned(T, respacing);
  const { steps, spacing, offset = 0 } = respacing;
  if (spacing === 'linspace') return linspace(T, steps);
  return spacing === 'trailing' ? trailing(T, steps) : leading(T, steps, offset);
}

/** Nearest integer, halves to the even one: the rounding of Python and numpy. */
export function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor;
}

/** round(i·(T-1)/(S-1)). */
function evenlySpaced(T: number, steps: number): number[] {
  checkSteps(T, steps);
  return Array.from({ length: steps }, (_, i) => (i === 0 ? 0 : roundHalfEven((i * (T - 1)) / (steps - 1))));
}

/** The multiples of the smallest integer stride that gives `steps` steps. */
function integerStride(T: number, steps: number): number[] {
  for (let stride = 1; stride < T; stride++) {
    if (Math.ceil(T / stride) === steps) return Array.from({ length: steps }, (_, i) => i * stride);
  }
  throw new OptionError(`${owner}: 'ddim${steps}' needs an integer stride, and none divides ${T} steps into ${steps}`);
}

/** `counts[i]` evenly spaced steps within the i-th of equal sections; the stride is summed in float64, as improved-diffusion does. */
function sectioned(T: number, counts: readonly number[]): number[] {
  const kept: number[] = [];
  let start = 0;
  counts.forEach((count, i) => {
    const size = Math.floor(T / counts.length) + (i < T % counts.length ? 1 : 0);
    if (count > size) throw new OptionError(`${owner}: section ${i} has ${size} of ${T} steps, cannot keep ${count} of them`);
    const stride = count > 1 ? (size - 1) / (count - 1) : 1;
    for (let k = 0, position = 0; k < count; k++, position += stride) kept.push(start + roundHalfEven(position));
    start += size;
  });
  if (kept.length === 0) throw new OptionError(`${owner}: sections must keep at least one step, got ${show(counts)}`);
  return kept;
}

function leading(T: number, steps: number, offset: number): number[] {
  checkSteps(T, steps);
  const stride = Math.floor(T / steps);
  const last = (steps - 1) * stride + offset;
  if (last >= T) throw new OptionError(`${owner}: option 'offset' = ${offset} moves the last step to ${last}, beyond ${T - 1}`);
  return Array.from({ length: steps }, (_, i) => i * stride + offset);
}

/** As `evenlySpaced`, but with the stride rounded first, as numpy.linspace does; they differ where i·(T-1)/(S-1) is a half. */
function linspace(T: number, steps: number): number[] {
  checkSteps(T, steps);
  const stride = (T - 1) / Math.max(steps - 1, 1);
  return Array.from({ length: steps }, (_, i) => roundHalfEven(i * stride));
}

/** round(T - i·T/S) - 1 for i below S; the stride is rounded as numpy.arange(T, 0, -T/S) rounds it, which decides the halves. */
function trailing(T: number, steps: number): number[] {
  checkSteps(T, steps);
  const stride = T - (T - T / steps);
  return Array.from({ length: steps }, (_, i) => roundHalfEven(T - (steps - 1 - i) * stride) - 1);
}

function isSections(respacing: readonly number[] | SpacedSteps): respacing is readonly number[] {
  return Array.isArray(respacing);
}

function checkCount(count: unknown, minimum: number, what: string): number {
  if (Number.isSafeInteger(count) && (count as number) >= minimum) return count as number;
  throw new OptionError(`${owner}: ${what} must be an integer of at least ${minimum}, got ${show(count)}`);
}

function checkSteps(T: number, steps: number): void {
  if (steps > T) throw new OptionError(`${owner}: the schedule has ${T} steps, cannot keep ${steps} of them`);
}
