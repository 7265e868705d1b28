import type { FileHandle } from 'node:fs/promises';
import { uninitialised } from '../hostArrays.js';
import { Slices } from '../slices.js';
import { halfToFloatBits } from './half.js';
import { type FileIdentity, readFully, withSameFile } from './input.js';
import { elementBytes, type SafetensorsDType } from './safetensorsHeader.js';

/** Values of a tensor, row-major. */
export type SafetensorsData = Float64Array | Float32Array | BigInt64Array | Int32Array | Uint8Array;

/** Half-precision values converted between two turns of the event loop. */
const sliceElements = 1 << 18;

/** Reads one tensor's bytes and converts them; the file must still be the one whose header was read. */
export function readTensorData(tensor: {
  path: string;
  identity: FileIdentity;
  dtype: SafetensorsDType;
  position: number;
  byteLength: number;
}): Promise<SafetensorsData> {
  const { path, identity, dtype, position, byteLength } = tensor;
  const length = byteLength / elementBytes[dtype];
  return withSameFile(path, identity, async (file) => {
    if (dtype === 'F16' || dtype === 'BF16') return readHalf(file, dtype, length, position, path);
    const values = allocate(dtype, length);
    await readFully(file, new Uint8Array(values.buffer), position, path);
    return values;
  });
}

function allocate(dtype: Exclude<SafetensorsDType, 'F16' | 'BF16'>, length: number): SafetensorsData {
  switch (dtype) {
    case 'F64':
      return uninitialised(Float64Array, length);
    case 'F32':
      return uninitialised(Float32Array, length);
    case 'I64':
      return uninitialised(BigInt64Array, length);
    case 'I32':
      return uninitialised(Int32Array, length);
    case 'U8':
      return uninitialised(Uint8Array, length);
  }
}

async function readHalf(file: FileHandle, dtype: 'F16' | 'BF16', length: number, position: number, path: string) {
  const values = uninitialised(Float32Array, length);
  const bits = new Uint32Array(values.buffer);
  const slice = new Uint16Array(Math.min(sliceElements, length));
  const widen = dtype === 'F16' ? halfToFloatBits : (half: number) => half << 16;
  for (let at = 0; at < length; at += sliceElements) {
    const halves = slice.subarray(0, Math.min(sliceElements, length - at));
    await readFully(file, new Uint8Array(halves.buffer, 0, halves.byteLength), position + 2 * at, path);
    for (let i = 0; i < halves.length; i++) bits[at + i] = widen(halves[i] as number);
  }
  return values;
}

/** The nearest float32 of each. */
export async function roundToFloat32(values: Float64Array): Promise<Float32Array> {
  const rounded = uninitialised(Float32Array, values.length);
  const slices = new Slices();
  for (let at = 0; at < values.length; at += sliceElements) {
    await slices.next();
    rounded.set(values.subarray(at, at + sliceElements), at);
  }
  return rounded;
}
