// A device on which nothing runs: it notes the native calls that code makes, at no cost whatever the size. So the shapes that are
// timed are those of the networks themselves.
import { Device, type DeviceInfo, type DType } from 'diffusion-native';
import { dtypes, type Handle, type NativeAddon, operations } from '#lib/native.js';

/** A tensor in a noted call. */
export interface Operand {
  shape: readonly number[];
  dtype: DType;
}

/** A call of an operation: its fields in the order of its struct in native/core/ops. Absent tensors are 0. */
export interface Call {
  name: (typeof operations)[number];
  fields: readonly (Operand | number | boolean)[];
}

/** Handles are numbers that no other field has. */
const firstHandle = 2 ** 50;

/** Opens one that says of itself what `info` says. Operations go to `calls` in their order; reading never ends. */
export function dryDevice(info: DeviceInfo, calls: Call[]): Device {
  const operands = new Map<Handle, Operand>();
  const names = Object.keys(dtypes) as DType[];
  let next = firstHandle;
  const make = (dtype: DType, shape: readonly number[]): Handle => {
    operands.set(next, { dtype, shape });
    return next++;
  };
  const nothing = () => {};
  let ticket = 0;
  const engine = {
    allocate: (_device: number, dtype: number, ...shape: number[]) => make(names[dtype] as DType, shape),
    alias: (of: Handle, _first: number, ...shape: number[]) => make((operands.get(of) as Operand).dtype, shape),
    memory: () => [0, 0, 0],
    // Below the tickets of devices that run.
    uploadInPlace: () => --ticket,
    download: () => --ticket,
    synchronize: () => --ticket,
    release: nothing,
    upload: nothing,
    beginRecording: nothing,
    endRecording: () => 1,
    abandonRecording: nothing,
    pauseRecording: nothing,
    resumeRecording: nothing,
    runProgram: nothing,
    releaseProgram: nothing,
    destroy: nothing,
  };
  const noting = operations.map((name) => [
    name,
    (...fields: (number | boolean)[]) =>
      void calls.push({ name, fields: fields.map((one) => operands.get(one as number) ?? one) }),
  ]);
  return new Device({ ...engine, ...Object.fromEntries(noting) } as NativeAddon, 0, info);
}
