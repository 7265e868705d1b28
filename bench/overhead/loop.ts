import { monitorEventLoopDelay } from 'node:perf_hooks';
import { ImageDataset, openDevice, Trainer } from 'diffusion-native';
import type { Overhead } from '../result.js';
import { spread } from '../statistics.js';
import type { SuiteContext } from '../suite.js';
import { smallModel, smallSize } from './smallModel.js';

/** Milliseconds between two looks at the loop, which its delay comes on top of. */
const resolution = 1;

/** How late the event loop is while a trainer runs: the middle and the 99th percentile of each of a few runs. */
export async function delayWhileTraining({ device: id, threads, quick, signal }: SuiteContext): Promise<Overhead[]> {
  const [batchSize, images] = [32, 256];
  const [runs, steps] = id.startsWith('emulator') ? [1, 1] : quick ? [3, 10] : [5, 40];
  const device = await openDevice(id, { threads });
  try {
    const pixels = Uint8Array.from({ length: images * smallSize * smallSize * 3 }, (_, i) => (i * 31) & 255);
    const data = ImageDataset.tensor(pixels, [images, smallSize, smallSize, 3]);
    const trainer = new Trainer({ ...smallModel(device), data, batchSize });
    for await (const _ of trainer.run({ steps: 1, signal })); // the recording
    const late: Record<'middle' | 'tail', number[]> = { middle: [], tail: [] };
    for (let run = 0; run < runs; run++) {
      const histogram = monitorEventLoopDelay({ resolution });
      histogram.enable();
      for await (const _ of trainer.run({ steps, signal }));
      histogram.disable();
      late.middle.push(Math.max(0, histogram.percentile(50) / 1e6 - resolution));
      late.tail.push(Math.max(0, histogram.percentile(99) / 1e6 - resolution));
    }
    signal.throwIfAborted();
    return [
      { name: 'event loop delay while training, median', unit: 'ms', value: spread(late.middle) },
      { name: 'event loop delay while training, 99th percentile', unit: 'ms', value: spread(late.tail) },
    ];
  } finally {
    await device.close();
  }
}
