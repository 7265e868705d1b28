// What is paid besides arithmetic: calls on the JavaScript thread, its delay while a model trains, start-up, and disk space.
import { openDevice } from 'diffusion-native';
import { enqueueing, replaying } from '../overhead/calls.js';
import { installedBytes } from '../overhead/installed.js';
import { delayWhileTraining } from '../overhead/loop.js';
import { firstSample, importing } from '../overhead/start.js';
import type { Overhead } from '../result.js';
import type { Found, SuiteContext } from '../suite.js';

/** Costs of calls, of starting and of installing; nothing takes part but this package. */
export async function* overhead(context: SuiteContext): AsyncGenerator<Found> {
  const parts: [string, () => Promise<Overhead[]>][] = [
    ['enqueuing and replaying', () => calls(context)],
    ['event loop', () => delayWhileTraining(context)],
    ['import', () => importing(context)],
    ['first sample', () => firstSample(context)],
    ['installed size', () => installedBytes()],
  ];
  const wanted = parts.filter(([name]) => name.includes(context.only));
  for (const [done, [name, measure]] of wanted.entries()) {
    context.signal.throwIfAborted();
    context.progress(done, wanted.length, name);
    for (const one of await measure()) yield { overhead: one };
  }
  context.progress(wanted.length, wanted.length, '');
}

async function calls(context: SuiteContext): Promise<Overhead[]> {
  const device = await openDevice(context.device, { threads: context.threads });
  try {
    return [...(await enqueueing(device, context)), ...(await replaying(device, context))];
  } finally {
    await device.close();
  }
}
