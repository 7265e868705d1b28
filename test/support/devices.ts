import { afterAll, describe, type TestContext, test } from 'vitest';
import type { Device } from '../../lib/device.js';
import { resolveDevice } from '../../lib/deviceList.js';
import { openDevice } from '../../lib/openDevice.js';

const ids = ['cpu', 'emulator', 'cuda'];

/** The reason why a device cannot be tested here, or null. */
function whyNot(id: string): string | null {
  try {
    resolveDevice(id);
    return null;
  } catch (error) {
    if (id === 'cpu') throw error; // there is always a processor
    return (error as Error).message;
  }
}

/** Defines the same tests for every device that there is; `open` gives one device, closed after the tests of the file. */
export function eachDevice(define: (id: string, open: () => Promise<Device>) => void): void {
  for (const id of ids) {
    const reason = whyNot(id);
    if (reason !== null) {
      test(id, (context) => context.skip(reason));
      continue;
    }
    describe(id, () => {
      let device: Promise<Device> | undefined;
      afterAll(async () => (await device)?.close());
      define(id, () => {
        device ??= openDevice(id);
        return device;
      });
    });
  }
}

/** The device for a test that computes in bf16, which is skipped where the device does not. */
export async function openForBf16(open: () => Promise<Device>, context: Pick<TestContext, 'skip'>): Promise<Device> {
  const device = await open();
  if (!device.info.bf16) context.skip(`${device.info.id} does not compute in bf16`);
  return device;
}
