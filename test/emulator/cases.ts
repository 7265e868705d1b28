import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';

const program = join(__dirname, '../../out/cmake/Release/emulator_cases');

/** Why there is no program to run, or undefined. */
export const missing = existsSync(program) ? undefined : 'the emulator is built with CMake only';

/** What the emulator reports of one of the cases in this folder; the process has to end by itself. */
export function reported(name: string): string {
  const { status, signal, stdout } = spawnSync(program, [name], { encoding: 'utf8', timeout: 30_000 });
  expect({ status, signal }).toEqual({ status: 0, signal: null });
  return stdout.trim();
}

/** The names of all cases. */
export function caseNames(): string[] {
  return spawnSync(program, { encoding: 'utf8' }).stdout.trim().split('\n');
}
