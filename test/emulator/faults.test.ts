import { describe, expect, test } from 'vitest';
import { caseNames, missing, reported } from './cases.js';

const where = 'block \\(\\d, 0, 0\\), thread \\(\\d+, 0, 0\\)';

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
  'tensor core: left before mma': [
    'product<kFlaw>',
    'left the kernel while lanes \\w+ wait for it in ldmatrix.x2|ldmatrix.x2: mask',
  ],
  'tensor core: half a warp': ['product<kFlaw>', 'deadlock: all 64 threads wait, 32 of them at __syncthreads'],
  'tensor core: copies under way at the end': ['product<kFlaw>', 'left the kernel with 1 copies of cp.async'],
  'far away': ['far_away', 'writes 4 bytes at 0x\\w+, which is host memory'],
  'shared memory, past the end': ['past_the_end', 'writes 4 bytes at offset 384 of shared memory, which has 384 bytes'],
  'shared memory, before the start': ['past_the_end', 'writes 4 bytes at offset -4 of shared memory, which has 384 bytes'],
  'stack overflow': ['deep', 'no memory at address 0x'],
};

// An access that goes where it must not: sticky, with kernel, block, thread, address and what is there.
const accesses: Record<string, [kernel: string, what: string]> = {
  'write past the end': ['copy', 'writes 4 bytes at 0x\\w+, 0 bytes past the end of the 768 bytes at 0x'],
  'write before the start': ['copy', 'writes 4 bytes at 0x\\w+, 4 bytes before the 768 bytes at 0x'],
  'read past the end': ['copy', 'reads 4 bytes at 0x\\w+, \\d bytes past the end of the 768 bytes at 0x'],
  'write past a tensor': ['copy', 'writes 4 bytes at 0x\\w+, \\d+ bytes past the end of the 768 bytes at 0x'],
  'read before a tensor': ['copy', 'reads 4 bytes at 0x\\w+, \\d+ bytes before the 768 bytes at 0x'],
  'write to what is only read': ['copy', 'writes 4 bytes at 0x\\w+, \\d+ bytes into .*, which the operation only reads'],
  'read of freed memory': ['copy', 'reads 4 bytes at 0x\\w+, \\d+ bytes before the 768 bytes at 0x'],
  'misaligned access': ['misaligned', 'reads 8 bytes at 0x\\w+4, which is misaligned'],
  'kernel reads host memory': ['copy', 'reads 4 bytes at 0x\\w+, which is host memory'],
  'two blocks write an element': ['same_element', 'writes 4 bytes .*, which block \\(\\d, 0, 0\\) of this launch has written'],
  'block relies on another': ['chain', 'which block \\(\\d, 0, 0\\) of this launch has (written|read)'],
  'block overwrites what another reads': ['shift', 'which block \\(\\d, 0, 0\\) of this launch has (written|read)'],
  'block reads a sum under way': ['sum_and_read', 'which an atomic operation of this launch has written'],
  'last block without a fence': ['last_block', 'reads 4 bytes .*, which block \\(\\d, 0, 0\\) of this launch has written'],
};

// What is reported in other words, or shows in the results.
const others: Record<string, string | RegExp> = {
  sound: 'sound',
  graph: 'sound',
  atomics: 'sound',
  'sum by the last block': 'sound',
  copy: 'sound',
  'tensors of a pool': 'sound',
  'tensor not wholly written': 'NaN',
  'two blocks write a word': 'sound',
  'host reads device memory': /^sticky: host code has touched device memory, at 0x/,
  'host writes device memory': /^sticky: host code has touched device memory, at 0x/,
  'host copies device memory': /^sticky: host code has touched device memory, at 0x/,
  'copy past the end': /^sticky: cudaMemcpyAsync: 768 bytes at 0x\w+, 4 bytes into the 768 bytes at 0x/,
  'copy in the wrong direction': 'cudaErrorInvalidValue',
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
  'shared memory, not asked for': 'cudaErrorInvalidValue',
  'shared memory, more than there is': 'cudaErrorInvalidValue',
  'shared memory, asked for': 'sound',
  'too many threads': 'cudaErrorInvalidConfiguration',
  'empty grid': 'cudaErrorInvalidConfiguration',
  'grid too high': 'cudaErrorInvalidConfiguration',
  'event: time between two': 'soon',
  'event: time of the work between two': 'later',
  'event: time before it has passed': 'cudaErrorNotReady',
  'event: time without timing': 'cudaErrorInvalidResourceHandle',
  'event: time of one never recorded': 'cudaErrorInvalidResourceHandle',
  'allocation while capturing': 'cudaErrorStreamCaptureUnsupported, cudaErrorStreamCaptureInvalidated',
};

describe.skipIf(missing)(`faults planted in kernels${missing ? ` (skipped: ${missing})` : ''}`, () => {
  test.each(Object.entries({ ...faults, ...accesses }))('%s', (name, [kernel, what]) => {
    expect(reported(name)).toMatch(new RegExp(`^sticky: kernel ${kernel}, ${where}: .*(${what})`));
  });

  test.each(Object.entries(others))('%s', (name, report) => {
    if (typeof report === 'string') expect(reported(name)).toBe(report);
    else expect(reported(name)).toMatch(report);
  });

  test('every planted fault has an expectation', () => {
    const names = caseNames().filter((name) => !name.startsWith('capture: '));
    expect(names.sort()).toEqual([faults, accesses, others].flatMap(Object.keys).sort());
  });
});
