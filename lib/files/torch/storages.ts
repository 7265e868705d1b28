import { halfToFloatBits } from '../half.js';
import { elementBytes, type SafetensorsDType } from '../safetensorsHeader.js';

/** Element types of PyTorch, in the words of safetensors. */
export type TorchDType = SafetensorsDType | 'I16' | 'I8' | 'BOOL';

/** Bytes of one element. */
export const torchElementBytes: Readonly<Record<TorchDType, number>> = {
  ...elementBytes,
  I16: 2,
  I8: 1,
  BOOL: 1,
};

/** Classes of `torch` that say the type of a storage's elements. */
export const storageClasses: ReadonlyMap<string, TorchDType> = new Map([
  ['DoubleStorage', 'F64'],
  ['FloatStorage', 'F32'],
  ['HalfStorage', 'F16'],
  ['BFloat16Storage', 'BF16'],
  ['LongStorage', 'I64'],
  ['IntStorage', 'I32'],
  ['ShortStorage', 'I16'],
  ['CharStorage', 'I8'],
  ['ByteStorage', 'U8'],
  ['BoolStorage', 'BOOL'],
]);

/** Element types as `torch` names them. */
export const dtypeNames: ReadonlyMap<string, TorchDType> = new Map([
  ['float64', 'F64'],
  ['float32', 'F32'],
  ['float16', 'F16'],
  ['bfloat16', 'BF16'],
  ['int64', 'I64'],
  ['int32', 'I32'],
  ['int16', 'I16'],
  ['int8', 'I8'],
  ['uint8', 'U8'],
  ['bool', 'BOOL'],
]);

/** Reads element `index` of little-endian bytes as a float32, or what rounds to one. */
export type ElementReader = (index: number) => number;

/** The reader of an element type that weights can have, or null. */
export function elementReader(dtype: TorchDType, bytes: Uint8Array): ElementReader | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  switch (dtype) {
    case 'F64':
      return (index) => view.getFloat64(8 * index, true);
    case 'F32':
      return (index) => view.getFloat32(4 * index, true);
    case 'F16':
      return (index) => floatOf(halfToFloatBits(view.getUint16(2 * index, true)));
    case 'BF16':
      return (index) => floatOf(view.getUint16(2 * index, true) << 16);
    default:
      return null;
  }
}

const word = new Int32Array(1);
const wordAsFloat = new Float32Array(word.buffer);

function floatOf(bits: number): number {
  word[0] = bits;
  return wordAsFloat[0] as number;
}
