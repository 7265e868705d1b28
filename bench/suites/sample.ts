// Whole samplings, from noise to images in host memory.
import { cifar10, imagenet64, tiny } from '../networks.js';
import type { Sampling } from '../peers/jobs.js';
import { measureCases, nameOf } from '../peers/measure.js';
import type { Case, CaseChoice } from '../peers/sides.js';
import type { Found, SuiteContext } from '../suite.js';

/** Takes hours on a CPU. */
const long: Sampling = 'ddpm-1000';

/** Seconds of a sampling, from which follow UNet evaluations and images a second. */
export async function* sample(context: SuiteContext): AsyncGenerator<Found> {
  const { device, only, quick } = context;
  if (device === 'cpu' && !quick && !asksForLong(only))
    console.error(`${long} is left out on the CPU: --only ${long} measures it`);
  yield* measureCases('sample', context, sampleCases(context));
}

const asksForLong = (only: string) => only.includes('ddpm');

/** What is measured by default, in this order. */
export function sampleCases({ device, dtypes, quick, only, batches: wanted }: CaseChoice): Case[] {
  const { networks, samplings, batches } = choice(device, quick, only);
  const cases: Case[] = networks.flatMap((network) =>
    samplings.flatMap((job) => (wanted ?? batches).flatMap((batch) => dtypes.map((dtype) => ({ network, job, batch, dtype })))),
  );
  return cases.filter((one) => nameOf(one).includes(only));
}

function choice(device: string, quick: boolean, only: string) {
  const all: Sampling[] = [long, 'ddim-50', 'dpmSolver++-20'];
  if (device.startsWith('emulator'))
    return { networks: [tiny], samplings: ['ddpm-3', 'ddim-3', 'dpmSolver++-3'] as Sampling[], batches: [2] };
  if (device.startsWith('cuda')) {
    if (quick) return { networks: [cifar10], samplings: ['ddim-50'] as Sampling[], batches: [16] };
    return { networks: [cifar10, imagenet64], samplings: all, batches: [1, 16, 64, 256] };
  }
  if (quick) return { networks: [cifar10], samplings: ['ddim-10'] as Sampling[], batches: [1] };
  return { networks: [cifar10], samplings: asksForLong(only) ? all : all.slice(1), batches: [1, 4, 16] };
}
