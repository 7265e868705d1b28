import { FileFormatError } from '../errors.js';
import { show } from '../options.js';
import { type FileIdentity, readFully, withFile } from './input.js';
import { duplicateName } from './json.js';

/** The element types that are read; F16 and BF16 come as float32. */
export type SafetensorsDType = 'F64' | 'F32' | 'F16' | 'BF16' | 'I64' | 'I32' | 'U8';

/** Bytes of one element. */
export const elementBytes: Readonly<Record<SafetensorsDType, number>> = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  U8: 1,
};

/** The reference reader's limit: a longer header is taken for damage. */
const maximumHeaderBytes = 100_000_000;

/** One tensor as the header describes it; `begin` and `end` count bytes from the end of the header. */
export interface HeaderEntry {
  name: string;
  dtype: SafetensorsDType;
  shape: readonly number[];
  begin: number;
  end: number;
}

/** The header's JSON text, and where the data begins. */
export function readHeader(path: string): Promise<{ text: string; dataStart: number; identity: FileIdentity }> {
  return withFile(path, async (file, identity) => {
    if (identity.size < 8) throw new FileFormatError(`'${path}' is no safetensors file: it has only ${identity.size} bytes`);
    const prefix = new Uint8Array(8);
    await readFully(file, prefix, 0, path);
    const length = new DataView(prefix.buffer).getBigUint64(0, true);
    if (length > BigInt(Math.min(identity.size - 8, maximumHeaderBytes))) {
      throw new FileFormatError(
        `'${path}' is cut short or no safetensors file: header of ${length} bytes, file of ${identity.size} bytes`,
      );
    }
    const bytes = new Uint8Array(Number(length));
    await readFully(file, bytes, 8, path);
    try {
      return {
        text: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes),
        dataStart: 8 + bytes.length,
        identity,
      };
    } catch (error) {
      throw new FileFormatError(`'${path}': the header is not UTF-8 text`, { cause: error });
    }
  });
}

/** Checks the header against the number of data bytes in the file; tensors come in the header's order. */
export function parseHeader(path: string, text: string, dataBytes: number) {
  const header = parseObject(path, text);
  const twice = duplicateName(text);
  if (twice !== undefined) throw new FileFormatError(`'${path}': the header names '${twice}' twice`);
  const metadata = parseMetadata(path, header.__metadata__);
  const tensors = Object.entries(header)
    .filter(([name]) => name !== '__metadata__')
    .map(([name, value]) => parseEntry(path, name, value));
  let end = 0;
  for (const tensor of [...tensors].sort((a, b) => a.begin - b.begin || a.end - b.end)) {
    if (tensor.end > dataBytes) {
      const where = `bytes ${tensor.begin}…${tensor.end} of ${dataBytes}`;
      throw new FileFormatError(`'${path}' is cut short or damaged: tensor '${tensor.name}' lies at ${where}`);
    }
    if (tensor.begin !== end) {
      const fault = tensor.begin < end ? 'overlaps the one before it' : 'leaves a gap before it';
      throw new FileFormatError(
        `'${path}': tensor '${tensor.name}' ${fault}: it begins at byte ${tensor.begin}, expected ${end}`,
      );
    }
    end = tensor.end;
  }
  if (end !== dataBytes) throw new FileFormatError(`'${path}': ${dataBytes - end} bytes after the last tensor belong to none`);
  return { metadata, tensors };
}

function parseObject(path: string, text: string): Record<string, unknown> {
  let header: unknown;
  try {
    header = JSON.parse(text);
  } catch (error) {
    throw new FileFormatError(`'${path}': the header is not valid JSON: ${(error as Error).message}`, { cause: error });
  }
  if (isObject(header)) return header;
  throw new FileFormatError(`'${path}': the header must be a JSON object, got ${show(header)}`);
}

function parseMetadata(path: string, value: unknown = {}): Record<string, string> {
  if (isObject(value) && Object.values(value).every((item) => typeof item === 'string')) return value as Record<string, string>;
  throw new FileFormatError(`'${path}': __metadata__ must map names to strings, got ${show(value)}`);
}

function parseEntry(path: string, name: string, value: unknown): HeaderEntry {
  const fail = (what: string) => new FileFormatError(`'${path}': tensor '${name}' ${what}`);
  if (!isObject(value)) throw fail(`must be described by an object, got ${show(value)}`);
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== 'string' || !Object.hasOwn(elementBytes, dtype)) {
    throw fail(`has an unsupported dtype ${show(dtype)}; supported are ${Object.keys(elementBytes).join(', ')}`);
  }
  if (!isSizes(shape)) throw fail(`must have a shape of non-negative integers, got ${show(shape)}`);
  const [begin, end] = isSizes(offsets) && offsets.length === 2 ? offsets : [];
  if (begin === undefined || end === undefined || begin > end) {
    throw fail(`must have data_offsets [begin, end], got ${show(offsets)}`);
  }
  const element = elementBytes[dtype as SafetensorsDType];
  const byteLength = shape.reduce((product, size) => product * size, element);
  if (byteLength !== end - begin)
    throw fail(`is ${dtype} ${shapeText(shape)} = ${byteLength} bytes, but its range has ${end - begin}`);
  if (begin % element !== 0) throw fail(`of ${element}-byte elements is misaligned: it begins at byte ${begin}`);
  return { name, dtype: dtype as SafetensorsDType, shape, begin, end };
}

/** A shape for messages, cut short where a file has a long one. */
export function shapeText(shape: readonly number[]): string {
  return `[${shape.slice(0, 16)}${shape.length > 16 ? ',…' : ''}]`;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}
