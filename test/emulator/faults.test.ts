import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';

const program = join(__dirname, '../../out/cmake/Release/emulator_cases');
const missing = existsSync(program) ? undefined : 'the emulator is built with CMake only';

/** What the emulator reports of one of the cases in this folder; the process has to end by itself. */
function reported(name: string): string {
  const { status, signal, stdout } = spawnSync(program, [name], { encoding: 'utf8', timeout: 30_000 });
  expect({ status, signal }).toEqual({ status: 0, signal: null });
  return stdout.trim();
}

const where = 'block \\(0, 0, 0\\), thread \\(\\d+, 0, 0\\)';

// A fault of a thread: sticky, with kernel, block and thread.
const faults: Record<string, [kernel: string, what: string]> = {
  'barrier of half a block': ['half_a_block', 'left the kernel while \\d+ threads wait at __syncthreads|reached __syncthreads'],
  'two barriers': ['two_barriers', 'reached __syncthreads in line \\d+ while \\d+ threads wait in line \\d+'],
  'left before a barrier': ['left_before_a_barrier', 'left the kernel while|after \\d+ threads of its block have left'],
  'left before a shuffle': ['left_before_a_shuffle', '__shfl_xor_sync|lanes .* wait for it in __shfl_xor_sync'],
  'mask without the caller': ['narrow_mask', '__shfl_xor_sync: mask 0000ffff lacks the lane that calls'],
  'shuffle of half a warp': ['half_a_warp', 'deadlock: all 96 threads wait, 48 of them at __syncthreads'],
  'two operations': ['other_operation', '__shfl_\\w+_sync with mask ffffffff while lanes \\w+ wait in __shfl_\\w+_sync'],
  'tensor core: pitch': ['product<kFlaw>', 'cp.async: shared address 0x\\w+ is not 16-byte aligned'],
  'tensor core: misaligned source': ['product<kFlaw>', 'cp.async: global address 0x\\w+ is not 16-byte aligned'],
  'tensor core: outside shared memory': ['product<kFlaw>', 'ldmatrix.x2: offset \\d+ is outside the 9216 bytes of shared memory'],
  'tensor core: left before mma': ['product<kFlaw>', 'left the kernel while lanes \\w+ wait for it in ldmatrix.x2|ldmatrix.x2: mask'],
  'tensor core: half a warp': ['product<kFlaw>', 'deadlock: all 64 threads wait, 32 of them at __syncthreads'],
  'tensor core: copies under way at the end': ['product<kFlaw>', 'left the kernel with 1 copies of cp.async'],
  'far away': ['far_away', 'no memory at address 0x'],
  'stack overflow': ['deep', 'no memory at address 0x'],
};

// What is reported in other words, or shows in the results.
const others: Record<string, string | RegExp> = {
  sound: 'sound',
  graph: 'sound',
  atomics: 'sound',
  'sum by the last block': 'sound',
  'missing barrier': 'NaN',
  'lane outside the mask': 'NaN',
  'tensor core: product': 'sound',
  'tensor core: transposed product': 'sound',
  'tensor core: pack_bf16': 'sound',
  'tensor core: no wait': 'NaN',
  'tensor core: wait too late': 'NaN',
  'tensor core: no barrier': 'NaN',
  'tensor core: barrier of a warp': 'NaN',
  'tensor core: copy too early': 'NaN',
  'tensor core: swapped fragment': 'wrong',
  'tensor core: not transposed': 'wrong',
  'shared memory, past the end': /^sticky: kernel past_the_end, .*: wrote outside its 384 bytes of shared memory$/,
  'shared memory, before the start': /^sticky: kernel past_the_end, .*: wrote outside its 384 bytes of shared memory$/,
  'shared memory, not asked for': 'cudaErrorInvalidValue',
  'shared memory, more than there is': 'cudaErrorInvalidValue',
  'shared memory, asked for': 'sound',
  'too many threads': 'cudaErrorInvalidConfiguration',
  'empty grid': 'cudaErrorInvalidConfiguration',
  'grid too high': 'cudaErrorInvalidConfiguration',
  'allocation while capturing': 'cudaErrorStreamCaptureUnsupported, cudaErrorStreamCaptureInvalidated',
};

describe.skipIf(missing)(`faults planted in kernels${missing ? ` (skipped: ${missing})` : ''}`, () => {
  test.each(Object.entries(faults))('%s', (name, [kernel, what]) => {
    expect(reported(name)).toMatch(new RegExp(`^sticky: kernel ${kernel}, ${where}: .*(${what})`));
  });

  test.each(Object.entries(others))('%s', (name, report) => {
    if (typeof report === 'string') expect(reported(name)).toBe(report);
    else expect(reported(name)).toMatch(report);
  });

  test('every planted fault has an expectation', () => {
    const names = spawnSync(program, { encoding: 'utf8' }).stdout.trim().split('\n');
    expect(names.sort()).toEqual([...Object.keys(faults), ...Object.keys(others)].sort());
  });
});
