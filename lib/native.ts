import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { DeviceError, errorFromCode } from './errors.js';
import { buildCommand, searchPath, whereAbsent } from './nativeFiles.js';

export { findNativeFile } from './nativeFiles.js';

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

/** What native/core/work.h says of a command. */
export interface NativeWork {
  name: string;
  dtype: DType;
  shapes: string;
  flops: number;
  bytes: number;
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
  'avgPool2d',
  'avgPool2dBackward',
  'maxPool2d',
  'maxPool2dBackward',
  'activation',
  'activationBackward',
  'softmax',
  'softmaxBackward',
  'layerNorm',
  'layerNormBackward',
  'broadcast',
  'reduceSum',
  'pad',
  'place',
  'timestepEmbedding',
  'embedding',
  'embeddingBackward',
  'noising',
  'blend',
  'gather',
  'reverseStep',
  'threshold',
  'modelVariance',
  'variationalBound',
  'variationalBoundBackward',
  'importanceTimesteps',
  'recordLosses',
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
  open(library: string, ordinal: number, threads: number, memoryLimit: number, profile: string, name: string): number;
  synchronize(device: number): number;
  destroy(device: number): void;
  /** Ends all executors of this thread, after the command that each is running. */
  halt(): void;
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
  programWork(program: number): NativeWork[];
  releaseProgram(program: number): void;
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

const addonFile = 'diffusion_native.node';

let loaded: NativeAddon | undefined;

/** The addon, loaded on first use. Throws DeviceError that names every place it looked in and the command that builds it. */
export function addon(): NativeAddon {
  if (loaded) return loaded;
  const failures: Error[] = [];
  for (const folder of searchPath()) {
    const path = join(folder, addonFile);
    if (!existsSync(path)) continue;
    try {
      const module = { exports: {} as NativeAddon };
      process.dlopen(module, path);
      module.exports.start(complete, errorFromCode);
      // process.exit() runs the destructors of libraries, but no clean-up of addons: nothing may compute any more by then.
      process.once('exit', () => module.exports.halt());
      loaded = module.exports;
      return loaded;
    } catch (error) {
      failures.push(error as Error);
    }
  }
  const causes = [...failures, ...whereAbsent(addonFile).map((place) => new Error(place))];
  const rule = process.env.DIFFUSION_NATIVE_PATH
    ? 'DIFFUSION_NATIVE_PATH is set, so it was looked for nowhere else'
    : `Build it with\n  ${buildCommand}\nin the project that depends on diffusion-native`;
  throw new DeviceError(
    `the native addon could not be loaded. ${rule}. Looked for in:\n${causes.map(({ message }) => `  ${message}`).join('\n')}`,
    { cause: new AggregateError(causes) },
  );
}
