import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { note, times } from './long.js';

const root = join(__dirname, '..', '..');
const compiler = process.env.CXX ?? 'g++';
const library = spawnSync(compiler, ['-print-file-name=libtsan.so'], { encoding: 'utf8' }).stdout?.trim() ?? '';
const missing = library.includes('/') ? undefined : `${compiler} has no ThreadSanitizer`;

// The long form: 20 000 rounds in each of 24 devices. Here: 2000.
const rounds = times(2000, 20_000);

test.skipIf(missing)(
  `queue, memory, completions and programs of four threads under ThreadSanitizer${missing ? ` (skipped: ${missing})` : ''}`,
  () => {
    const folder = join(root, 'out', 'faults');
    mkdirSync(folder, { recursive: true });
    const program = join(folder, 'threads');
    const core = readdirSync(join(root, 'native', 'core')).filter((name) => name.endsWith('.cc'));
    const sources = [...core.map((name) => join('native', 'core', name)), join('test', 'faults', 'threads.cc')];
    const flags = ['-std=c++20', '-O1', '-g1', '-fsanitize=thread', '-Wall', '-Wextra', '-Werror', '-I', 'native'];
    execFileSync(compiler, [...flags, ...sources, '-o', program, '-ldl'], { cwd: root, stdio: 'pipe' });
    // Fixed addresses: the sanitizer of older compilers cannot work where the kernel spreads them widely.
    const fixed = spawnSync('setarch', ['-R', 'true']).status === 0;
    const [command, before] = fixed ? ['setarch', ['-R', program]] : [program, []];
    const { status, stdout, stderr } = spawnSync(command, [...before, String(rounds)], { encoding: 'utf8', timeout: 500_000 });
    expect(stderr).toBe('');
    expect(status).toBe(0);
    const counts = JSON.parse(stdout);
    expect(counts).toMatchObject({ wrong: 0, reserved: 0, held: 0 });
    expect(counts.delivered).toBeGreaterThan(rounds * 12); // half of the devices leave with work queued
    expect(counts.failed).toBeGreaterThan(rounds);
    expect(counts.refused).toBeGreaterThan(0);
    note({ rounds, ...counts });
  },
  600_000,
);
