import * as v from 'valibot';
import { OptionError } from './errors.js';

/** A short, readable rendering of a received value for error messages. */
export function show(value: unknown): string {
  return showWithin(value, 3);
}

/** Arrays within arrays are shown so many deep: they may be endless. */
function showWithin(value: unknown, depth: number): string {
  if (typeof value === 'string') return value.length > 200 ? `'${value.slice(0, 200)}…'` : `'${value}'`;
  if (typeof value === 'function') return 'a function';
  if (Array.isArray(value)) {
    if (depth === 0) return '[…]';
    const items = value.slice(0, 8).map((item) => showWithin(item, depth - 1));
    return `[${items.join(', ')}${value.length > 8 ? ', …' : ''}]`;
  }
  if (value !== null && typeof value === 'object') {
    const name = value.constructor?.name;
    return name && name !== 'Object' ? `a ${name}` : 'an object';
  }
  return String(value);
}

/**
 * Validates an options object against a valibot schema, applying its defaults.
 * Throws OptionError naming the owner (`new UNet`), the option, what came and what is accepted.
 */
export function parseOptions<const S extends v.GenericSchema>(owner: string, schema: S, options: unknown): v.InferOutput<S> {
  if (Array.isArray(options)) throw new OptionError(`${owner}: options must be an object, got ${show(options)}`);
  const result = v.safeParse(schema, options === undefined ? {} : options, { abortEarly: true });
  if (result.success) return result.output;
  const issue = result.issues[0];
  const path = v.getDotPath(issue);
  if (path === null) throw new OptionError(`${owner}: options must be an object, got ${show(options)}`);
  if (issue.type === 'strict_object' && issue.expected === 'never') {
    const known = 'entries' in schema ? Object.keys(schema.entries as object).join(', ') : '';
    throw new OptionError(`${owner}: unknown option '${path}'${known ? `; known options are ${known}` : ''}`);
  }
  if (issue.type === 'strict_object' && issue.received === 'undefined')
    throw new OptionError(`${owner}: option '${path}' is required`);
  throw new OptionError(`${owner}: option '${path}' must be ${expectation(issue)}, got ${show(issue.input)}`);
}

/** Custom messages win; otherwise valibot's own `expected` description is used. */
function expectation(issue: v.BaseIssue<unknown>): string {
  const generated = issue.message.startsWith('Invalid ');
  return generated ? (issue.expected ?? 'valid') : issue.message;
}

/** Throws OptionError unless the argument is a function. */
export function checkFunction(owner: string, body: unknown): void {
  if (typeof body !== 'function') throw new OptionError(`${owner}: a function is needed, got ${show(body)}`);
}

/** Throws OptionError unless the argument can be a file's or folder's name. */
export function checkPath(owner: string, argument: string, path: unknown): asserts path is string {
  if (typeof path !== 'string' || path === '' || path.includes('\0'))
    throw new OptionError(`${owner}: ${argument} must be a string that names a file or folder, got ${show(path)}`);
}

// ---- the kinds of option that occur in this package; messages complete "must be …"

export const integer = (minimum: number, maximum = Number.MAX_SAFE_INTEGER) => {
  const range =
    maximum === Number.MAX_SAFE_INTEGER ? `an integer of at least ${minimum}` : `an integer between ${minimum} and ${maximum}`;
  return v.pipe(v.number(range), v.safeInteger(range), v.minValue(minimum, range), v.maxValue(maximum, range));
};

/** A finite number within [minimum, maximum]. */
export const number = (minimum = -Infinity, maximum = Infinity) => {
  const text =
    minimum === -Infinity && maximum === Infinity
      ? 'a finite number'
      : maximum === Infinity
        ? `a finite number of at least ${minimum}`
        : `a number between ${minimum} and ${maximum}`;
  return v.pipe(v.number(text), v.finite(text), v.minValue(minimum, text), v.maxValue(maximum, text));
};

/** A finite number above zero. */
export const positive = () => {
  const text = 'a finite number above 0';
  return v.pipe(v.number(text), v.finite(text), v.gtValue(0, text));
};

export const oneOf = <const T extends readonly string[]>(...values: T) =>
  v.picklist(values, `one of ${values.map((value) => `'${value}'`).join(', ')}`);

export const boolean = () => v.boolean('true or false');
export const string = () => v.string('a string');
export const instance = <C extends abstract new (...args: never[]) => unknown>(type: C, text: string) =>
  v.custom<InstanceType<C>>((value) => value instanceof type, text);
export const signal = () => instance(AbortSignal, 'an AbortSignal');
