import { readFileSync } from 'node:fs';

/**
 * The most bytes of memory that this process has had. Not `process.resourceUsage().maxRSS`: on Linux that begins with what the process
 * that started this one had.
 */
export function peakResidentBytes(): number {
  try {
    const [, kilobytes] = /^VmHWM:\s*(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8')) as RegExpExecArray;
    return Number(kilobytes) * 1024;
  } catch {
    return process.resourceUsage().maxRSS * 1024;
  }
}
