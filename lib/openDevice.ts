import * as v from 'valibot';
import { Device } from './device.js';
import { resolveDevice } from './deviceList.js';
import { addon } from './native.js';
import { integer, parseOptions } from './options.js';

/** Options of `openDevice`. */
export interface OpenDeviceOptions {
  /** CPU threads that compute; by default all that the process may use. */
  threads?: number;
  /** Most bytes that this device may hold; by default what the machine (or its container) has free. */
  memoryLimit?: number;
}

const openSchema = v.strictObject({ threads: v.optional(integer(1, 1024)), memoryLimit: v.optional(integer(1)) });

/**
 * Opens a device: 'auto' (the first CUDA device that works, else the CPU; `device.info.reason` says why), 'cpu', 'cuda', 'cuda:1'.
 * Throws DeviceError when the asked-for device is not there.
 */
export async function openDevice(id = 'auto', options: OpenDeviceOptions = {}): Promise<Device> {
  const { threads = 0, memoryLimit = 0 } = parseOptions('openDevice', openSchema, options);
  const { library, ordinal, info } = resolveDevice(id);
  const native = addon();
  const device = new Device(native, native.open(library, ordinal, threads, memoryLimit), {
    ...info,
    threads: threads || info.threads,
  });
  try {
    await device.synchronize(); // reports a backend that cannot open
  } catch (error) {
    await device.close();
    throw error;
  }
  return device;
}
