// The blocks that the reference networks are made of, forwards alone and with their gradients.
import { backward, type Device, mean, noGrad, openDevice, type Tensor } from 'diffusion-native';
import { type BlockCase, blockCases, makeBlock } from '../blockCases.js';
import { floorOf, workOf } from '../floor.js';
import { cifar10, imagenet64, type Network, tiny } from '../networks.js';
import type { DTypeName, Measurement } from '../result.js';
import { spread } from '../statistics.js';
import type { Found, SuiteContext } from '../suite.js';
import { Timed } from '../timing.js';

interface Case {
  network: Network;
  batch: number;
  dtype: DTypeName;
  block: BlockCase;
  pass: 'forward' | 'training';
}

/** Nothing but this package takes part: others have no such block. */
export async function* blocks(context: SuiteContext): AsyncGenerator<Found> {
  const cases = casesOf(context);
  for (const [done, one] of cases.entries()) {
    context.signal.throwIfAborted();
    context.progress(done, cases.length, nameOf(one));
    // A parameter lives as long as its device.
    const device = await openDevice(context.device, { threads: context.threads });
    try {
      yield { measurement: await measure(device, one, context) };
    } finally {
      await device.close();
    }
  }
  context.progress(cases.length, cases.length, '');
}

const nameOf = ({ block, pass }: Case) => `${block.name}, ${pass}`;

function casesOf({ device, dtypes, quick, only, batches }: SuiteContext): Case[] {
  const emulated = device.startsWith('emulator');
  const all: Case[] = [];
  for (const dtype of dtypes)
    for (const network of emulated ? [tiny] : quick ? [cifar10] : [cifar10, imagenet64])
      for (const batch of batches ?? [device.startsWith('cuda') ? network.gpuBatch : network.cpuBatch])
        for (const block of blockCases(network))
          for (const pass of ['forward', 'training'] as const) all.push({ network, batch, dtype, block, pass });
  const representative = ({ block: { size } }: Case) => emulated || !quick || size === 16;
  return all.filter((one) => (only ? nameOf(one).includes(only) : representative(one)));
}

async function measure(device: Device, one: Case, { quick, repetitions, ceilings }: SuiteContext): Promise<Measurement> {
  const { network, batch, dtype, block, pass } = one;
  const run = makeBlock(device, block, network, batch, dtype);
  const body = (): Tensor | undefined => {
    if (pass === 'forward') return noGrad(run.forward);
    for (const parameter of run.parameters) parameter.zeroGrad();
    backward(mean(run.forward()));
  };
  const program = device.record(() => device.scope(() => void body()));
  const pace = { milliseconds: quick ? 5 : 20, batches: repetitions ?? (quick ? 5 : 11) };
  const seconds = await (await Timed.prepare(device, program, 1, pace)).measure(pace.batches);
  const { commands } = program;
  const about = `diffusion-native, ${device.info.isa ?? device.info.name}`;
  return {
    ...{ suite: 'blocks', name: nameOf(one), kind: `${block.kind} ${pass}`, network: network.name, dtype, batch, images: batch },
    work: workOf(commands),
    floor: floorOf(commands, ceilings),
    sides: { ours: { about, seconds: spread(seconds), samples: seconds.length } },
  };
}
