// Single operations of the reference networks, recorded and replayed, beside PyTorch's where python3 has it.
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { type Device, openDevice } from 'diffusion-native';
import { floorOf, workOf } from '../floor.js';
import { prepare } from '../kernelRuns.js';
import { kindOf, nameOf, type Spec, specsOf } from '../kernelSpecs.js';
import { callsOf } from '../networkCalls.js';
import { cifar10, imagenet64, type Network, tiny } from '../networks.js';
import { Peer } from '../peers/peer.js';
import { hasModule } from '../python.js';
import type { DTypeName, Measurement, Side } from '../result.js';
import { spread } from '../statistics.js';
import type { Found, SuiteContext } from '../suite.js';
import { type Pace, rotation, Timed } from '../timing.js';

interface Case {
  network: Network;
  batch: number;
  dtype: DTypeName;
  spec: Spec;
}

/** What stands for all others when it must be quick: at most one case of each. */
const representative = [
  /^conv 3×3, 32², 128 → 128, forward$/,
  /^conv 3×3, 32², 128 → 128, data$/,
  /^conv 3×3, 32², 128 → 128, weights$/,
  /^conv 3×3, 16², 256 → 256, forward$/,
  /^conv 3×3, 16², 512 → 256, weights$/,
  /^conv 3×3, 16², upsampled, 256 → 256, forward$/,
  /^conv 1×1, 16², 512 → 256, forward$/,
  /^groupNorm\+silu 1024×128, (forward|backward)$/,
  /^groupNorm 256×256, forward$/,
  /^attention 256×256, 1 head, (forward|backward)$/,
  /^(noising|reverse step|optimiser)/,
];

/** Rounds in which the sides take turns. */
const rounds = { quick: 2, full: 4 };

/** The operations of CIFAR-10's and ImageNet-64's networks; of a tiny one where the device is emulated. */
export async function* kernels(context: SuiteContext): AsyncGenerator<Found> {
  const device = await openDevice(context.device, { threads: context.threads });
  const peers = new Map<DTypeName, Peer | null>();
  try {
    const cases = casesOf(device, context);
    for (const [done, one] of cases.entries()) {
      context.signal.throwIfAborted();
      context.progress(done, cases.length, nameOf(one.spec));
      if (context.peers && !peers.has(one.dtype)) peers.set(one.dtype, await startPeer(context, one.dtype));
      yield { measurement: await measure(device, one, context, peers.get(one.dtype) ?? null) };
    }
    context.progress(cases.length, cases.length, '');
  } catch (error) {
    context.signal.throwIfAborted(); // what Ctrl-C does to the peers is no fault of theirs
    throw error;
  } finally {
    for (const peer of peers.values()) peer?.stop();
    await device.close();
  }
}

function casesOf(device: Device, { device: id, dtypes, quick, only, batches }: SuiteContext): Case[] {
  const emulated = id.startsWith('emulator');
  const cases = new Map<string, Case>();
  for (const dtype of dtypes)
    for (const network of emulated ? [tiny] : quick ? [cifar10] : [cifar10, imagenet64])
      for (const batch of batches ?? [id.startsWith('cuda') ? network.gpuBatch : network.cpuBatch])
        for (const spec of specsOf(callsOf(device.info, network, dtype, batch))) {
          const name = nameOf(spec);
          const key = `${name} ${dtype} ${batch}`;
          // These know f32 alone.
          if (dtypes[0] !== dtype && (spec.kind === 'noising' || spec.kind === 'reverseStep')) continue;
          const wanted = only ? name.includes(only) : emulated || !quick || representative.some((one) => one.test(name));
          if (wanted && !cases.has(key)) cases.set(key, { network, batch, dtype, spec });
        }
  return [...cases.values()];
}

async function startPeer({ device, python, threads }: SuiteContext, dtype: DTypeName): Promise<Peer | null> {
  if (!hasModule(python, 'torch')) {
    console.error(`${python} has no PyTorch to compare ${dtype} with`);
    return null;
  }
  const program = join(__dirname, '..', '..', '..', 'bench', 'peers', 'torch_kernels.py');
  return Peer.start(python, program, device, dtype, '10', String(threads));
}

async function measure(
  device: Device,
  { network, batch, dtype, spec }: Case,
  context: SuiteContext,
  peer: Peer | null,
): Promise<Measurement> {
  const { quick, repetitions, ceilings } = context;
  const turns = quick ? rounds.quick : rounds.full;
  const pace: Pace = { milliseconds: quick ? 5 : 20, batches: Math.ceil((repetitions ?? (quick ? 6 : 12)) / turns) };
  const used = device.memory().usedBytes;
  const operations = [prepare(device, spec, dtype)];
  const { sets, rounds: times } = rotation(context.device, device.memory().usedBytes - used);
  while (operations.length < sets) operations.push(prepare(device, spec, dtype));
  const program = device.record(() => {
    for (let i = 0; i < times; i++) for (const { run } of operations) run();
  });
  const repeats = sets * times;
  try {
    const timed = await Timed.prepare(device, program, repeats, pace);
    const samples: Record<string, number[]> = { ours: [] };
    for (let turn = 0; turn < turns; turn++) {
      samples.ours?.push(...(await timed.measure(pace.batches)));
      if (!peer) continue;
      samples.torch = [...(samples.torch ?? []), ...(await peer.ask(JSON.stringify({ ...spec, ...pace })))];
      await pause(quick ? 5 : 20); // until its threads have stopped spinning
    }
    const about = { ours: `diffusion-native, ${device.info.isa ?? device.info.name}`, torch: peer?.about ?? '' };
    const sides = Object.entries(samples)
      .filter(([, seconds]) => seconds.every(Number.isFinite))
      .map(([side, seconds]): [string, Side] => [
        side,
        { about: about[side as keyof typeof about], seconds: spread(seconds), samples: seconds.length },
      ]);
    const name = nameOf(spec);
    const { commands } = program;
    const counted = { work: workOf(commands, repeats), floor: floorOf(commands, ceilings) / repeats };
    const measured = { suite: 'kernels', name, kind: kindOf(spec), network: network.name, dtype, batch } as const;
    return { ...measured, ...counted, sides: Object.fromEntries(sides) };
  } finally {
    program.dispose();
    for (const operation of operations) operation.dispose();
  }
}
