import { resolve } from 'node:path';
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
  /**
   * A file that is written with how long each command takes, for Perfetto and chrome://tracing; by default what the environment says
   * in DIFFUSION_PROFILE. All devices of the process that name it share it. `%p` stands for the number of the process. Programs run
   * command by command then, not as one graph.
   */
  profile?: string;
}

const openSchema = v.strictObject({
  threads: v.optional(integer(1, 1024)),
  memoryLimit: v.optional(integer(1)),
  profile: v.optional(v.pipe(v.string('a path'), v.regex(/^[^\0]+$/, 'a path'))),
});

/** The path of the trace that a device is to write, or '' for none. */
function tracePath(asked: string | undefined): string {
  const path = asked ?? process.env.DIFFUSION_PROFILE ?? '';
  return path && resolve(path.replaceAll('%p', String(process.pid)));
}

/**
 * Opens a device: 'auto' (the first CUDA device that works, else the CPU; `device.info.reason` says why), 'cpu', 'cuda', 'cuda:1'.
 * Throws DeviceError when the asked-for device is not there, OptionError when the file of a profile cannot be written.
 */
export async function openDevice(id = 'auto', options: OpenDeviceOptions = {}): Promise<Device> {
  const { threads = 0, memoryLimit = 0, profile } = parseOptions('openDevice', openSchema, options);
  const { library, ordinal, info } = resolveDevice(id);
  const native = addon();
  const device = new Device(native, native.open(library, ordinal, threads, memoryLimit, tracePath(profile), info.id), {
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
