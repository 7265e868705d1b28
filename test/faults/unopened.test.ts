import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { addon } from '../../lib/native.js';
import { findNativeFile } from '../../lib/nativeFiles.js';

const emulator = findNativeFile('libdiffusion_emulator.so');

const missing = emulator ? '' : ' (skipped: the emulator is not built)';

test.skipIf(missing)(`a device that could not be opened fails everything, what leaves a recording included${missing}`, () => {
  const program = `
    const { addon, completion } = require(${JSON.stringify(join(__dirname, '..', '..', 'dist', 'native.js'))});
    const native = addon();
    const open = () => native.open(${JSON.stringify(emulator)}, 0, 1, 4e6, '', '');
    (async () => {
      const first = open();
      const x = native.allocate(first, 0, 8, 64, 8);
      native.fill(x, 1);
      native.sumPixels(x, native.alias(x, 0, 8, 8)); // blocks write what others read: the emulator is lost
      await completion(native.synchronize(first)).catch(() => {});
      const device = open();
      native.beginRecording(device);
      const kept = native.allocate(device, 0, 4);
      native.fill(kept, 1);
      const program = native.endRecording(device); // copies what is still alive
      native.runProgram(program);
      const into = new Float32Array(4);
      await completion(native.download(kept, into), into).catch(({ code, message }) => console.log(code, message));
      native.releaseProgram(program);
      native.destroy(device);
    })();`;
  expect(execFileSync(process.execPath, ['-e', program], { encoding: 'utf8' })).toMatch(
    /^ERR_DEVICE open: cudaErrorLaunchFailure: kernel sum_pixels/,
  );
});

test('a result must not lie where the state of the random numbers does', () => {
  const native = addon();
  const device = native.open(findNativeFile('libdiffusion_cpu.so') as string, 0, 1, 4e6, '', '');
  const state = native.allocate(device, 3, 4);
  expect(() => native.randomIntegers(state, 0, 9, state, 0, 0, 0, 0)).toThrow(/state of the random numbers/);
  native.destroy(device);
});
