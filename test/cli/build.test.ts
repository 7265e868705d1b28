import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { commandLine } from '../support/commandLine.js';
import { temporaryFolder } from '../support/temporaryFolder.js';

const root = temporaryFolder();
afterEach(() => vi.unstubAllEnvs());

/** A folder for PATH with programs that answer --version and fail otherwise. */
function tools(...names: string[]): string {
  const folder = join(root, names.join('-'));
  mkdirSync(folder, { recursive: true });
  for (const name of names) {
    writeFileSync(join(folder, name), '#!/bin/sh\n[ "$1" = --version ]\n');
    chmodSync(join(folder, name), 0o755);
  }
  return folder;
}

test.each([
  ['a compiler', [], [], /no C\+\+ compiler \(c\+\+\)(.|\n)*apt-get install -y g\+\+ make/],
  ['a build tool', ['c++'], [], /neither CMake with make or ninja, nor node-gyp(.|\n)*apt-get install -y cmake make/],
  [
    'oneDNN',
    ['c++', 'cmake', 'ninja'],
    [],
    /oneDNN, which the CPU backend needs, was not found(.|\n)*apt-get install -y libdnnl-dev/,
  ],
  ['CMake for CUDA', ['c++', 'make', 'python3'], ['--cuda'], /the CUDA backend is built by CMake(.|\n)*apt-get install -y cmake/],
])('without %s, build says how to install it', async (_, names, flags, message) => {
  vi.stubEnv('PATH', tools(...names));
  vi.stubEnv('CXX', undefined);
  vi.stubEnv('npm_config_node_gyp', __filename);
  const { status, stdout, stderr } = await commandLine('build', ...flags);
  expect(stderr).toMatch(message);
  expect(stdout).toBe('');
  expect(status).toBe(1);
});

test('wrong usage of build is told from failure', async () => {
  for (const args of [['--jobs', '0'], ['--gpu'], ['here']]) expect((await commandLine('build', ...args)).status).toBe(2);
});
