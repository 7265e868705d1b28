import { existsSync } from 'node:fs';
import { DeviceError } from './errors.js';
import { addon } from './native.js';
import { buildCommand, findNativeFile, searchPath, whereAbsent } from './nativeFiles.js';

/** What `listDevices` says of a device; `reason` is why it is not available, or why 'auto' chose it. */
export interface DeviceInfo {
  /** 'cpu', 'cuda:0', …; 'cuda' when no CUDA device can be used. */
  id: string;
  /** Whether `openDevice` can open it. */
  available: boolean;
  /** Of the processor. */
  name?: string;
  /** Memory of the device or the machine. */
  memoryBytes?: number;
  /** CPU threads that compute. */
  threads?: number;
  /** CPU: the widest instruction set in use. */
  isa?: string;
  /** Whether models and operations can compute in bf16. */
  bf16?: boolean;
  /** CUDA: for example '9.0'. */
  computeCapability?: string;
  /** Why it is not available, or why 'auto' chose it. */
  reason?: string;
}

interface Found {
  library: string;
  ordinal: number;
  info: DeviceInfo;
}

const backends = { cuda: 'libdiffusion_cuda.so', cpu: 'libdiffusion_cpu.so', emulator: 'libdiffusion_emulator.so' } as const;
type BackendName = keyof typeof backends;

function discover(backend: BackendName): Found[] {
  const library = findNativeFile(backends[backend]);
  const missing = (reason: string): Found[] => [{ library: '', ordinal: 0, info: { id: backend, available: false, reason } }];
  if (!library) return missing(notBuilt(backend));
  try {
    return addon()
      .list(library)
      .map(({ id, available, bf16, name, memoryBytes, threads, isa, computeCapability, reason }, ordinal) => ({
        library,
        ordinal,
        info: {
          id,
          available,
          ...(available && { bf16 }),
          ...(name && { name }),
          ...(memoryBytes && { memoryBytes }),
          ...(threads && { threads }),
          ...(isa && { isa }),
          ...(computeCapability && { computeCapability }),
          ...(reason && { reason }),
        },
      }));
  } catch (error) {
    return missing((error as Error).message);
  }
}

function notBuilt(backend: BackendName): string {
  const file = backends[backend];
  if (backend === 'cuda' && !existsSync('/proc/driver/nvidia/version'))
    return `no NVIDIA driver found, and no ${file} in ${searchPath().join(' or ')}`;
  const makes = { cpu: buildCommand, cuda: `${buildCommand} --cuda`, emulator: 'npm run build:emulator' }[backend];
  return `the ${backend} backend is not built: ${whereAbsent(file).join(', ')}; '${makes}' makes it`;
}

/** Every device of this machine, and for what is absent the reason. Never throws for a missing driver or library. */
export function listDevices(): DeviceInfo[] {
  return [...discover('cuda'), ...discover('cpu')].map(({ info }) => info);
}

/** Finds the device of an id, or throws DeviceError with the reason. Only 'auto' chooses, and says what and why. */
export function resolveDevice(id: string): Found {
  if (id === 'auto') {
    const cuda = discover('cuda');
    const first = cuda.find(({ info }) => info.available);
    if (first) return { ...first, info: { ...first.info, reason: 'the first CUDA device that works' } };
    const why = cuda.map(({ info }) => `${info.id}: ${info.reason}`).join('; ');
    const cpu = resolveDevice('cpu');
    return { ...cpu, info: { ...cpu.info, reason: `no CUDA device can be used (${why})` } };
  }
  const backend = typeof id === 'string' ? (id.split(':')[0] as BackendName) : undefined;
  if (backend === undefined || !Object.hasOwn(backends, backend) || !/^(cpu|(cuda|emulator)(:\d+)?)$/.test(id))
    throw new DeviceError(`no device '${id}'; devices are 'auto', 'cpu', 'cuda', 'cuda:1', …`);
  const found = discover(backend);
  const device = id.includes(':')
    ? found.find(({ info }) => info.id === id)
    : (found.find(({ info }) => info.available) ?? found[0]);
  if (!device) throw new DeviceError(`no device '${id}'; there are ${found.map(({ info }) => info.id).join(', ')}`);
  if (!device.info.available) throw new DeviceError(`device '${id}' cannot be used: ${device.info.reason}`);
  return device;
}
