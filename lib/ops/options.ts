import { Parameter } from '../autograd/parameter.js';
import { OptionError } from '../errors.js';
import { show } from '../options.js';
import { Tensor } from '../tensor.js';

/** Throws OptionError unless `options` is an object with no other names than these. Cheap: it runs at every operation. */
export function checkNames(operation: string, options: object, known: readonly string[]): void {
  const isObject = typeof options === 'object' && options !== null && !Array.isArray(options);
  if (!isObject || options instanceof Tensor || options instanceof Parameter)
    throw new OptionError(`${operation}: options must be an object, got ${show(options)}`);
  for (const name in options)
    if (!known.includes(name))
      throw new OptionError(`${operation}: unknown option '${name}'; known options are ${known.join(', ')}`);
}

/** An integer option within [minimum, 2^31). */
export function checkInteger(operation: string, option: string, value: unknown, minimum: number): asserts value is number {
  if (!Number.isInteger(value) || (value as number) < minimum || (value as number) > 0x7fffffff)
    throw new OptionError(`${operation}: option '${option}' must be an integer of at least ${minimum}, got ${show(value)}`);
}

/** A finite number option. */
export function checkNumber(operation: string, option: string, value: unknown): asserts value is number {
  if (!Number.isFinite(value))
    throw new OptionError(`${operation}: option '${option}' must be a finite number, got ${show(value)}`);
}

export function checkBoolean(operation: string, option: string, value: unknown): asserts value is boolean {
  if (typeof value !== 'boolean')
    throw new OptionError(`${operation}: option '${option}' must be true or false, got ${show(value)}`);
}

/** A probability of dropping: at least 0, below 1. */
export function checkProbability(operation: string, option: string, value: unknown): asserts value is number {
  if (typeof value !== 'number' || !(value >= 0 && value < 1))
    throw new OptionError(`${operation}: option '${option}' must be a number of at least 0 and below 1, got ${show(value)}`);
}
