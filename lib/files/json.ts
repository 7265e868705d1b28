import { readFile } from 'node:fs/promises';
import { FileFormatError } from '../errors.js';
import { isSystemError, writeFileAtomic } from './atomic.js';

/**
 * A string, or a number that Python's json module writes and JSON does not know. A string that does not end goes on to the end of the
 * text: looked at from each of its quotation marks it would take a time that grows with the square of its length.
 */
const stringsAndNonFinites = /"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?$)|(-?)\bInfinity\b|\bNaN\b/gs;
const nan = '\u0000NaN';

/**
 * Parses JSON, also with the bare `Infinity`, `-Infinity` and `NaN` that diffusers' configurations hold.
 * @param source what the text is, for the message: a quoted path, say
 * @throws FileFormatError naming the source.
 */
export function parseJson(text: string, source: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    try {
      return parseNonFinite(text);
    } catch {
      throw new FileFormatError(`${source} is not valid JSON: ${(error as Error).message}`, { cause: error });
    }
  }
}

/**
 * Reads a JSON file as `parseJson` does.
 * @throws FileFormatError naming the file when it cannot be read or is not JSON.
 */
export async function readJson(path: string): Promise<unknown> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (!isSystemError(error)) throw error;
    throw new FileFormatError(`cannot read '${path}': ${error.message}`, { cause: error });
  }
  return parseJson(text.replace(/^\uFEFF/, ''), `'${path}'`);
}

/**
 * Writes JSON as diffusers does (keys sorted, indent 2, newline at the end), replacing the file in one step.
 * @throws FileFormatError when the file cannot be written, or when a number is not finite: JSON has no way to say so.
 */
export async function writeJson(path: string, value: unknown): Promise<void> {
  const text = JSON.stringify(
    value,
    (key, item) => {
      if (typeof item === 'number' && !Number.isFinite(item)) {
        throw new FileFormatError(`cannot write '${path}': '${key}' is ${item}, which JSON cannot hold`);
      }
      return isPlainObject(item) ? Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1))) : item;
    },
    2,
  );
  await writeFileAtomic(path, `${text}\n`);
}

/** The first name that occurs twice within one object of a valid JSON text; JSON.parse would keep the last silently. */
export function duplicateName(text: string): string | undefined {
  const open: (Set<string> | undefined)[] = [];
  for (const [token] of text.matchAll(/"[^"\\]*(?:\\.[^"\\]*)*"(\s*:)?|[{}[\]]/gs)) {
    if (token === '{') open.push(new Set());
    else if (token === '[') open.push(undefined);
    else if (token === '}' || token === ']') open.pop();
    else if (token.endsWith(':')) {
      const name = JSON.parse(token.slice(0, -1)) as string;
      if (open.at(-1)?.has(name)) return name;
      open.at(-1)?.add(name);
    }
  }
  return undefined;
}

function parseNonFinite(text: string): unknown {
  // A number beyond float64 parses as Infinity; NaN has no spelling and passes as a marked string.
  const spelled = text.replace(stringsAndNonFinites, (token, sign) =>
    token.startsWith('"') ? token : token === 'NaN' ? JSON.stringify(nan) : `${sign}1e999`,
  );
  return JSON.parse(spelled, (_, item) => (item === nan ? Number.NaN : item));
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}
