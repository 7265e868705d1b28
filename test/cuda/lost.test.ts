import { expect, test } from 'vitest';
import { DeviceError, listDevices, openDevice, ops } from '../../lib/index.js';
import { onCounted } from './counted.js';

const { add, silu } = ops;

// A kernel that writes where there is no memory: after it, a GPU is of no use to the process.
onCounted('thirdSilu', (opened) => {
  test('an error that lasts rejects every wait with its name and its device; everything else stays usable', async () => {
    const { device } = opened();
    const x = device.tensor([1, 2], [2]);
    const program = device.record(() => silu(x));
    const early = program.result.read();
    await expect(early).resolves.toHaveLength(2);
    silu(x);
    const broken = silu(x); // the third
    const lost = /^emulator is lost: .*cudaErrorLaunchFailure: kernel .*, block .*, thread .*: writes 4 bytes at 0x/;
    const failure = (await broken.read().catch((error: Error) => error)) as Error;
    expect(failure).toBeInstanceOf(DeviceError);
    expect(failure.message).toMatch(lost);
    program.run();
    for (const wait of [
      x.read(),
      add(x, x).read(),
      program.result.read(),
      device.tensor([3], [1]).read(),
      device.synchronize(),
    ]) {
      await expect(wait).rejects.toThrow(DeviceError);
      await expect(wait).rejects.toThrow(failure.message);
    }
    const many = Array.from({ length: 50 }, () => x.read());
    for (const wait of many) await expect(wait).rejects.toThrow(failure.message);
    program.dispose();
    await device.close();

    await expect(openDevice('emulator')).rejects.toThrow(DeviceError);
    await expect(openDevice('emulator')).rejects.toThrow(/cudaErrorLaunchFailure/);
    expect(listDevices().find(({ id }) => id === 'cpu')?.available).toBe(true);
    const cpu = await openDevice('cpu');
    expect([...(await add(cpu.tensor([1], [1]), cpu.tensor([2], [1])).read())]).toEqual([3]);
    await cpu.close();
  });
});
