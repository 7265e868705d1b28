import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { temporaryFolder } from '../support/temporaryFolder.js';

const root = join(__dirname, '../..');
const folder = temporaryFolder();

/** What ptxas prints for one kernel. */
const kernel = (name: string, stack: number, spills: number, registers: number) => `\
ptxas info    : Compiling entry function '${name}' for 'sm_90'
ptxas info    : Function properties for ${name}
    ${stack} bytes stack frame, ${spills} bytes spill stores, ${spills} bytes spill loads
ptxas info    : Used ${registers} registers, used 1 barriers
`;

/** The report on a build whose files compiled with this output. */
function report(build: string, logs: Record<string, string>, librarySize = 10) {
  const write = (path: string, content: string | Buffer) => {
    mkdirSync(dirname(join(folder, build, path)), { recursive: true });
    writeFileSync(join(folder, build, path), content);
  };
  for (const [file, log] of Object.entries(logs)) write(`CMakeFiles/native/cuda/${file}.o.log`, log);
  write('Release/libdiffusion_cuda.so', Buffer.alloc(librarySize));
  return spawnSync(process.execPath, [join(root, 'scripts/cuda-resources.mjs'), join(folder, build)], { encoding: 'utf8' });
}

test('kernels in registers pass; the table has the most of each file', () => {
  const conv2d = kernel('forward', 0, 0, 128) + kernel('other', 0, 0, 96);
  const { status, stdout, stderr } = report('good', { 'conv2d.cu': conv2d, 'layout.cu': kernel('permute', 8, 44, 48) });
  expect(stderr).toBe('');
  expect(stdout).toMatch(/^conv2d +sm_90 +2 +128 +0 +0$/m);
  expect(stdout).toMatch(/^layout +sm_90 +1 +48 +8 +88$/m);
  expect(stdout).toMatch(/^3 kernels/m);
  expect(status).toBe(0);
});

test.each([
  ['spills', { 'attention_mma.cu': kernel('softmax', 0, 4, 255) }, /attention_mma.cu, sm_90: 8 bytes spilled.* in softmax/],
  ['has an array in local memory', { 'process.cu': kernel('noising', 32, 0, 40) }, /32 bytes of stack \(0 allowed\) in noising/],
  ['was not looked at', {}, /no compiler output/],
])('a kernel that %s fails', (what, logs, message) => {
  const { status, stderr } = report(what, logs as Record<string, string>);
  expect(stderr).toMatch(message);
  expect(status).toBe(1);
});

test('a library beyond 30 MiB fails', () => {
  const { status, stderr } = report('large', { 'conv2d.cu': kernel('forward', 0, 0, 1) }, 30 * 2 ** 20 + 1);
  expect(stderr).toMatch(/has 31457281 bytes/);
  expect(status).toBe(1);
});
