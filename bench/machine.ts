import { execFileSync } from 'node:child_process';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { listDevices } from 'diffusion-native';

/** What a result file says of where it was measured. */
export function machine() {
  const cpu = listDevices().find(({ id }) => id === 'cpu');
  return {
    date: new Date().toISOString(),
    commit: git('rev-parse', '--short', 'HEAD') + (git('status', '--porcelain', '--', 'lib', 'native') ? '+changes' : ''),
    cpu: cpu?.name ?? cpus()[0]?.model ?? 'unknown',
    isa: cpu?.isa,
    cores: cpus().length,
    memoryBytes: totalmem(),
    kernel: release(),
    node: process.version,
    loadAverage: loadavg()[0],
  };
}

function git(...args: string[]): string {
  try {
    return execFileSync('git', args, { encoding: 'utf8' }).trim();
  } catch {
    return 'unknown';
  }
}
