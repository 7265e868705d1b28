import { FileFormatError, OptionError } from '../errors.js';
import { show } from '../options.js';
import { writeFileAtomic } from './atomic.js';
import { readTensorData, roundToFloat32, type SafetensorsData } from './safetensorsData.js';
import { elementBytes, type HeaderEntry, parseHeader, readHeader, type SafetensorsDType } from './safetensorsHeader.js';

export type { SafetensorsData, SafetensorsDType };

/** One tensor of a file: its description, and a function that reads its values. */
export interface SafetensorsTensor {
  readonly name: string;
  readonly dtype: SafetensorsDType;
  readonly shape: readonly number[];
  /** Reads the values: F64 as Float64Array; F32, F16, BF16 as Float32Array; I64 as BigInt64Array; I32, U8 as their arrays. */
  data(): Promise<SafetensorsData>;
  /** As `data`, and F64 rounded to float32; any other type than F64, F32, F16 and BF16 is a FileFormatError. */
  float32(): Promise<Float32Array>;
}

/** An opened file. Nothing is held open: every `data()` reads anew. */
export interface SafetensorsFile {
  readonly metadata: Readonly<Record<string, string>>;
  readonly tensors: ReadonlyMap<string, SafetensorsTensor>;
}

/** One tensor to write; the element type follows from the array. */
export interface SafetensorsEntry {
  name: string;
  shape: readonly number[];
  /** The values, row-major, or a function that makes them when their turn comes (then `dtype` says their type; F32). */
  data: SafetensorsData | (() => SafetensorsData | Promise<SafetensorsData>);
  dtype?: WritableDType;
}

type WritableDType = Exclude<SafetensorsDType, 'F16' | 'BF16'>;

/**
 * Reads the header of a safetensors file and checks it against the file: types, shapes and byte ranges, without gaps or overlaps.
 * @throws FileFormatError naming the file, and the tensor at fault; later from `data()` when the file is cut short or has been replaced.
 */
export async function readSafetensors(path: string): Promise<SafetensorsFile> {
  const { text, dataStart, identity } = await readHeader(path);
  const { metadata, tensors } = parseHeader(path, text, identity.size - dataStart);
  const open = ({ name, dtype, shape, begin, end }: HeaderEntry): SafetensorsTensor => {
    const data = () => readTensorData({ path, identity, dtype, position: dataStart + begin, byteLength: end - begin });
    const float32 = async () => {
      if (dtype === 'F32' || dtype === 'F16' || dtype === 'BF16') return (await data()) as Float32Array;
      if (dtype === 'F64') return roundToFloat32((await data()) as Float64Array);
      throw new FileFormatError(`'${path}': tensor '${name}' must be F64, F32, F16 or BF16, got ${dtype}`);
    };
    return { name, dtype, shape, data, float32 };
  };
  return { metadata, tensors: new Map(tensors.map((entry) => [entry.name, open(entry)])) };
}

/**
 * Writes a safetensors file as the reference writer lays it out: header padded to 8 bytes, `__metadata__` first, tensors by name
 * (larger element types first, so that all are aligned). The file appears whole or not at all; values made by functions are held one at a time.
 * @throws OptionError for entries that contradict themselves; FileFormatError naming the file when it cannot be written.
 */
export async function writeSafetensors(
  path: string,
  entries: Iterable<SafetensorsEntry>,
  metadata: Readonly<Record<string, string>> = { format: 'pt' },
): Promise<void> {
  const planned = Array.from(entries, planEntry).sort(
    (a, b) => elementBytes[b.dtype] - elementBytes[a.dtype] || (a.name < b.name ? -1 : 1),
  );
  const names = new Set(['__metadata__']);
  for (const { name } of planned) {
    if (names.has(name)) throw new OptionError(`writeSafetensors: '${name}' is given twice or reserved`);
    names.add(name);
  }
  await writeFileAtomic(path, async (append) => {
    await append(encodeHeader(planned, metadata));
    for (const { name, dtype, shape, byteLength, produce } of planned) {
      const data = await produce();
      if (dtypeOf(data) !== dtype || data.byteLength !== byteLength) {
        throw new OptionError(
          `writeSafetensors: data of '${name}' must be ${dtype} of shape [${shape}], got ${show(data)} of ${data.length} values`,
        );
      }
      await append(data);
    }
  });
}

function planEntry({ name, shape, data, dtype: declared }: SafetensorsEntry) {
  const dtype = typeof data === 'function' ? (declared ?? 'F32') : dtypeOf(data);
  if (dtype === undefined || (declared !== undefined && declared !== dtype)) {
    throw new OptionError(
      `writeSafetensors: data of '${name}' must be ${declared ?? 'a supported typed array'}, got ${show(data)}`,
    );
  }
  const byteLength = shape.reduce((product, size) => product * size, elementBytes[dtype]);
  if (!shape.every((size) => Number.isSafeInteger(size) && size >= 0) || !Number.isSafeInteger(byteLength)) {
    throw new OptionError(`writeSafetensors: shape of '${name}' must hold non-negative integers, got ${show(shape)}`);
  }
  return { name, dtype, shape: [...shape], byteLength, produce: typeof data === 'function' ? data : () => data };
}

function dtypeOf(data: SafetensorsData): WritableDType | undefined {
  if (data instanceof Float32Array) return 'F32';
  if (data instanceof Int32Array) return 'I32';
  if (data instanceof BigInt64Array) return 'I64';
  if (data instanceof Float64Array) return 'F64';
  return data instanceof Uint8Array ? 'U8' : undefined;
}

/** Length (8 bytes), then the JSON, padded with spaces to a multiple of 8. Joined by hand: an object would move names such as '0' ahead. */
function encodeHeader(planned: readonly ReturnType<typeof planEntry>[], metadata: Readonly<Record<string, string>>): Uint8Array {
  let end = 0;
  const fields = planned.map(({ name, dtype, shape, byteLength }) => {
    const begin = end;
    end += byteLength;
    return `${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [begin, end] })}`;
  });
  const json = Buffer.from(`{${[`"__metadata__":${JSON.stringify(metadata)}`, ...fields].join(',')}}`);
  const bytes = Buffer.alloc(8 + Math.ceil(json.length / 8) * 8, ' ');
  bytes.writeBigUInt64LE(BigInt(bytes.length - 8));
  json.copy(bytes, 8);
  return bytes;
}
