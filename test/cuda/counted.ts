import { afterEach, beforeEach, describe, test } from 'vitest';
import { Device } from '../../lib/device.js';
import { addon, findNativeFile } from '../../lib/native.js';

/** Which calls of the emulator fail, as in test/cuda/counted.cc. */
export const plans = { sound: 0, noCapture: 1, secondReplay: 2, secondMap: 3, thirdSilu: 4, firstRecorded: 5 } as const;

export interface Counted {
  device: Device;
  /** Calls since the device was opened; what is recorded into a graph does not count as run. */
  counts(): { run: number; capture: number; replay: number; destroy: number };
}

/** The library of the counted emulator, or null. */
export const library = findNativeFile('libdiffusion_counted.so');

/** Opens it; one at a time is open. */
export async function openCounted(plan: keyof typeof plans): Promise<Device> {
  if (library === null) throw new Error('the emulator is built with CMake only');
  const id = addon().open(library, plans[plan], 0, 0, '', 'emulator');
  const device = new Device(addon(), id, { id: 'emulator', available: true, bf16: true });
  await device.synchronize();
  return device;
}

/** Tests on an emulator that counts calls and lets some fail. `opened()` gives the test's own device; one at a time is open. */
export function onCounted(plan: keyof typeof plans, define: (opened: () => Counted) => void): void {
  describe(plan, () => {
    if (library === null) {
      test('on the emulator', (context) => context.skip('the emulator is built with CMake only'));
      return;
    }
    let device: Device;
    const describeIt = () => addon().list(library as string)[0]?.name ?? '';
    beforeEach(async () => {
      device = await openCounted(plan);
    });
    afterEach(() => device.close());
    define(() => ({
      device,
      counts: () => {
        const [run, capture, replay, destroy] = (describeIt().match(/\d+/g) ?? []).map(Number);
        return { run, capture, replay, destroy } as ReturnType<Counted['counts']>;
      },
    }));
  });
}
