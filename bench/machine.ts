import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { cpus, freemem, loadavg, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { listDevices } from 'diffusion-native';

const root = join(__dirname, '..', '..');

/** What a result file says of where it was measured; `device` is the id that was asked for. */
export function machine(device = 'cpu') {
  const devices = listDevices();
  const cpu = devices.find(({ id }) => id === 'cpu');
  return {
    date: new Date().toISOString(),
    commit: commit(),
    device,
    cpu: cpu?.name ?? cpus()[0]?.model ?? 'unknown',
    isa: cpu?.isa,
    cores: cpus().length,
    memoryBytes: totalmem(),
    kernel: release(),
    node: process.version,
    ...now(device),
  };
}

/** What changes while something is measured: load, clocks, and the state of the GPU. */
export function now(device: string) {
  const cpuMegahertz = Math.max(0, ...cpus().map(({ speed }) => speed));
  return {
    loadAverage: loadavg()[0],
    freeBytes: freemem(),
    ...(cpuMegahertz > 0 && { cpuMegahertz }), // many virtual machines do not tell
    ...(device.startsWith('cuda') && { gpu: gpu(device) }),
  };
}

const queried = {
  name: 'name',
  driver: 'driver_version',
  memory: 'memory.total',
  smClock: 'clocks.sm',
  memoryClock: 'clocks.mem',
  largestSmClock: 'clocks.max.sm',
  power: 'power.draw',
  temperature: 'temperature.gpu',
} as const;

/** The GPU as nvidia-smi sees it now, or what `listDevices` knows of it. */
export function gpu(device: string): Record<string, string> {
  const [, ordinal = '0'] = device.split(':');
  const query = [`--query-gpu=${Object.values(queried)}`, '--format=csv,noheader', '-i', ordinal];
  try {
    const line = execFileSync('nvidia-smi', query, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    const values = line.trim().split(', ');
    return Object.fromEntries(Object.keys(queried).map((name, i) => [name, values[i] ?? '']));
  } catch {
    const info = listDevices().find(({ id }) => id === `cuda:${ordinal}`);
    return { name: info?.name ?? 'unknown', computeCapability: info?.computeCapability ?? 'unknown' };
  }
}

/** Of the repository, or of the archive that this is run from; elsewhere the version. */
function commit(): string {
  const read = (name: string) => JSON.parse(readFileSync(join(root, name), 'utf8')) as Record<string, string>;
  if (existsSync(join(root, 'build.json'))) return read('build.json').commit ?? 'unknown';
  if (!existsSync(join(root, '.git'))) return read('package.json').version ?? 'unknown';
  return git('rev-parse', '--short', 'HEAD') + (git('status', '--porcelain', '--', 'lib', 'native') ? '+changes' : '');
}

function git(...args: string[]): string {
  try {
    return execFileSync('git', args, { cwd: root, encoding: 'utf8' }).trim();
  } catch {
    return 'unknown';
  }
}
