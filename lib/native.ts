import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { DeviceError, errorFromCode } from './errors.js';

/** Element type of a tensor: float32, bfloat16, and unsigned 8-bit and signed 32-bit integers. */
export type DType = 'f32' | 'bf16' | 'u8' | 'i32';

/** Numbers of the element types, as native/core/view.h counts them. */
export const dtypes: Readonly<Record<DType, number>> = { f32: 0, bf16: 1, u8: 2, i32: 3 };

/** Typed arrays that cross to and from a device. */
export type DataArray = Float32Array | Uint8Array | Int32Array;

/** A tensor's native name; 0 stands for an absent one. */
export type Handle = number;

export interface NativeDeviceDescription {
  id: string;
  available: boolean;
  bf16: boolean;
  name: string;
  isa: string;
  computeCapability: string;
  reason: string;
  memoryBytes: number;
  threads: number;
}

/** Every operation of native/core/ops. */
export const operations = [
  'conv2d',
  'conv2dBackwardData',
  'conv2dBackwardWeights',
  'linear',
  'linearBackwardData',
  'linearBackwardWeights',
  'linearGroup',
  'linearGroupBackwardData',
  'linearGroupBackwardWeights',
  'groupNorm',
  'groupNormBackward',
  'attention',
  'attentionBackward',
  'silu',
  'siluBackward',
  'add',
  'mul',
  'scale',
  'dropout',
  'fill',
  'cast',
  'permute',
  'concat',
  'split',
  'upsample',
  'upsampleBackward',
  'timestepEmbedding',
  'embedding',
  'embeddingBackward',
  'noising',
  'blend',
  'gather',
  'reverseStep',
  'mean',
  'meanBackward',
  'sumPixels',
  'mseLoss',
  'mseLossBackward',
  'randomNormal',
  'randomUniform',
  'randomIntegers',
  'advanceSeed',
  'gradientNorm',
  'adamW',
] as const;

/** Takes the fields of its struct in native/core/ops in their order; an `Rng` is five numbers (state, seed, stream, step, first sample). */
export type NativeOperation = (...fields: (number | boolean)[]) => void;

/** The face of the addon: handles and numbers only, everything checked before. */
export type NativeAddon = NativeEngine & Readonly<Record<(typeof operations)[number], NativeOperation>>;

interface NativeEngine {
  readonly abi: number;
  start(
    onComplete: (tickets: number[], faults: (Error | null)[]) => void,
    makeError: (code: string, message: string) => Error,
  ): void;
  list(library: string): NativeDeviceDescription[];
  open(library: string, ordinal: number, threads: number, memoryLimit: number): number;
  synchronize(device: number): number;
  destroy(device: number): void;
  memory(device: number): [used: number, peak: number, reserved: number];
  allocate(device: number, dtype: number, ...axes: number[]): Handle;
  alias(tensor: Handle, firstElement: number, ...axes: number[]): Handle;
  release(tensor: Handle): void;
  upload(tensor: Handle, data: ArrayBufferView): void;
  uploadInPlace(tensor: Handle, data: ArrayBufferView): number;
  download(tensor: Handle, into: ArrayBufferView): number;
  beginRecording(device: number): void;
  endRecording(device: number): number;
  abandonRecording(device: number): void;
  pauseRecording(device: number): void;
  resumeRecording(device: number): void;
  runProgram(program: number): void;
  releaseProgram(program: number): void;
}

const root = join(__dirname, '..');

/** Folders that may hold the native files, in the order in which they are tried. */
export function searchPath(): string[] {
  const chosen = process.env.DIFFUSION_NATIVE_PATH;
  if (chosen) return [chosen];
  return [join(root, 'out', 'cmake', 'Release'), join(root, 'build', 'Release')];
}

/** The first file of this name along the search path, or null. */
export function findNativeFile(name: string): string | null {
  return (
    searchPath()
      .map((folder) => join(folder, name))
      .find((path) => existsSync(path)) ?? null
  );
}

interface Pending {
  resolve(): void;
  reject(error: Error): void;
  /** Kept alive until the ticket ends: the executor reads or writes its memory. */
  array: ArrayBufferView | null;
  caller: Error;
}

const pending = new Map<number, Pending>();

/** The promise of a ticket. A fault rejects with its first cause and with the stack of the call that waits. */
export function completion(ticket: number, array: ArrayBufferView | null = null): Promise<void> {
  const caller = new Error('waiting for the device');
  return new Promise((resolve, reject) => pending.set(ticket, { resolve, reject, array, caller }));
}

function complete(tickets: number[], faults: (Error | null)[]): void {
  for (const [i, ticket] of tickets.entries()) {
    const waiting = pending.get(ticket);
    if (!waiting) continue;
    pending.delete(ticket);
    const fault = faults[i];
    if (!fault) waiting.resolve();
    else {
      fault.stack = `${fault.name}: ${fault.message}\n${(waiting.caller.stack ?? '').split('\n').slice(1).join('\n')}`;
      waiting.reject(fault);
    }
  }
}

let loaded: NativeAddon | undefined;

/** The addon, loaded on first use. Throws DeviceError that names every place it looked in and the way to build it. */
export function addon(): NativeAddon {
  if (loaded) return loaded;
  const causes: Error[] = [];
  for (const folder of searchPath()) {
    const path = join(folder, 'diffusion_native.node');
    if (!existsSync(path)) {
      causes.push(new Error(`${path} does not exist`));
      continue;
    }
    try {
      const module = { exports: {} as NativeAddon };
      process.dlopen(module, path);
      module.exports.start(complete, errorFromCode);
      loaded = module.exports;
      return loaded;
    } catch (error) {
      causes.push(error as Error);
    }
  }
  throw new DeviceError(
    `the native addon could not be loaded; build it with 'npm run build' in ${root}\n${causes.map((cause) => `  ${cause.message}`).join('\n')}`,
    { cause: new AggregateError(causes) },
  );
}
