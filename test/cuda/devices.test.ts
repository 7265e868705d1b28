import { afterEach, expect, test } from 'vitest';
import { resolveDevice } from '../../lib/deviceList.js';
import { DeviceError, DeviceMismatchError, OutOfMemoryError, openDevice, ops } from '../../lib/index.js';
import { findNativeFile } from '../../lib/native.js';

const { add, groupNorm, silu } = ops;

/** Describes the machine that the emulator emulates from now on, see native/emulator/machine.h. */
function emulate(machine: string): void {
  process.env.DIFFUSION_EMULATOR = machine;
}
afterEach(() => emulate(''));

const onEmulator = findNativeFile('libdiffusion_emulator.so') === null ? test.skip : test;

onEmulator.each([
  ['driver=0', 'no NVIDIA driver found'],
  ['driver=12040', 'the NVIDIA driver is too old: it supports CUDA 12.4, and CUDA 13.0 is needed'],
  ['devices=0', 'the NVIDIA driver finds no device'],
  ['capability=75', 'compute capability 7.5 is not supported: 8.0 or higher is needed'],
  ['error=802', 'cudaErrorSystemNotReady: '],
])('%s: %s', async (machine, reason) => {
  emulate(machine);
  await expect(openDevice('emulator')).rejects.toThrow(DeviceError);
  await expect(openDevice('emulator')).rejects.toThrow(reason);
  emulate('');
  expect(resolveDevice('emulator').info).toMatchObject({ id: 'emulator', available: true, computeCapability: '9.0' });
});

onEmulator('several devices: each by its number, side by side', async () => {
  emulate('devices=3');
  const devices = await Promise.all(['emulator', 'emulator:1', 'emulator:2'].map((id) => openDevice(id)));
  expect(devices.map(({ info }) => info.id)).toEqual(['emulator', 'emulator:1', 'emulator:2']);
  const tensors = devices.map((device, i) => device.tensor([i, i + 1], [2]));
  const programs = devices.map((device, i) => device.record(() => silu(add(tensors[i] as never, tensors[i] as never))));
  for (let round = 0; round < 5; round++) for (const program of programs) program.run();
  const results = await Promise.all(programs.map(({ result }) => result.read()));
  for (const [i, result] of results.entries())
    for (const [j, value] of [...result].entries()) expect(value).toBeCloseTo((2 * (i + j)) / (1 + Math.exp(-2 * (i + j))), 5);
  expect(() => add(tensors[0] as never, tensors[1] as never)).toThrow(DeviceMismatchError);
  await expect(openDevice('emulator:3')).rejects.toThrow(/no device 'emulator:3'; there are emulator, emulator:1, emulator:2/);
  for (const device of devices) await device.close();
});

onEmulator('memory that the device does not have is an OutOfMemoryError, and the device stays usable', async () => {
  emulate('free=100000000');
  const device = await openDevice('emulator', { memoryLimit: 10_000_000_000 });
  const x = device.full([1000], 1);
  const large = device.full([50_000_000], 2);
  const after = silu(large);
  await expect(large.read()).rejects.toThrow(OutOfMemoryError);
  await expect(after.read()).rejects.toThrow(OutOfMemoryError);
  expect((await add(x, x).read())[999]).toBe(2);
  const program = device.record(() => add(x, x));
  program.run();
  expect((await program.result.read())[0]).toBe(2);
  large.dispose();
  after.dispose();
  const fits = device.full([5_000_000], 3);
  expect((await fits.read())[4_999_999]).toBe(3);
  await device.close();
});

onEmulator('an operation that finds no scratch memory fails alone', async () => {
  emulate('free=33600000'); // the first slab, and 45 KB
  const device = await openDevice('emulator');
  const [gamma, beta] = [device.full([8], 2), device.full([8], 1)];
  const x = device.randn([3, 1, 1, 8], { seed: 1 });
  await expect(groupNorm(x, gamma, beta, { groups: 8 }).read()).rejects.toThrow(OutOfMemoryError);
  expect((await add(gamma, beta).read())[0]).toBe(3);
  emulate('');
  expect(await groupNorm(x, gamma, beta, { groups: 8 }).read()).toHaveLength(24);
  await device.close();
});
