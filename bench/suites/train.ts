// Whole networks: a training step, and a prediction alone.
import { cifar10, imagenet64, type Network, tiny } from '../networks.js';
import { measureCases, nameOf } from '../peers/measure.js';
import type { Case, CaseChoice } from '../peers/sides.js';
import type { Found, SuiteContext } from '../suite.js';

interface Choice {
  network: Network;
  job: 'forward' | 'step';
  batches: readonly number[];
}

/** Seconds, images a second, peak memory, and how far each side is from the reference. */
export function train(context: SuiteContext): AsyncGenerator<Found> {
  return measureCases('train', context, trainCases(context));
}

/** What is measured by default, in this order. */
export function trainCases({ device, dtypes, quick, only, batches: wanted }: CaseChoice): Case[] {
  const cases: Case[] = choices(device, quick).flatMap(({ network, job, batches }) =>
    (wanted ?? batches).flatMap((batch) => dtypes.map((dtype) => ({ network, job, batch, dtype }))),
  );
  return cases.filter((one) => nameOf(one).includes(only));
}

function choices(device: string, quick: boolean): Choice[] {
  const forward = (network: Network, ...batches: number[]): Choice => ({ network, job: 'forward', batches });
  const step = (network: Network, ...batches: number[]): Choice => ({ network, job: 'step', batches });
  if (device.startsWith('emulator')) return [forward(tiny, 2), step(tiny, 2)];
  if (device.startsWith('cuda')) {
    if (quick) return [forward(cifar10, 4), step(cifar10, 128)];
    return [
      ...[cifar10, imagenet64].map((network) => forward(network, 1, 4, 16)),
      step(cifar10, 128, 256, 512),
      step(imagenet64, 64, 128),
    ];
  }
  if (quick) return [forward(cifar10, 1), step(cifar10, 4)];
  return [forward(cifar10, 1, 4, 16), step(cifar10, 1, 4, 16), forward(imagenet64, 1), step(imagenet64, 1)];
}
