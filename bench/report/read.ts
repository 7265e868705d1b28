import type { BenchResult } from '../result.js';
import { readResult } from '../schema.js';

/**
 * Reads a result file for showing: every text in it becomes one line, without characters that a picture cannot hold.
 * @throws FileFormatError when it cannot be read, is not JSON, or naming the field that is wrong.
 */
export const readForShowing = async (path: string): Promise<BenchResult> => inOneLine(await readResult(path)) as BenchResult;

/** Control characters, halves of surrogate pairs, and what no text may hold. */
const unwritable = /[\p{Cc}\p{Cs}\ufffe\uffff]/gu;

function inOneLine(value: unknown): unknown {
  if (typeof value === 'string') return value.replace(/\s+/g, ' ').replace(unwritable, '\ufffd');
  if (Array.isArray(value)) return value.map(inOneLine);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [inOneLine(key), inOneLine(item)]));
}
