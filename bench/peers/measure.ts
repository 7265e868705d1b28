import { rmSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import type { Network } from '../networks.js';
import type { Measurement, Side } from '../result.js';
import { spread } from '../statistics.js';
import type { Found, SuiteContext } from '../suite.js';
import { samplingOf } from './jobs.js';
import type { Peer } from './peer.js';
import { makeReference } from './reference.js';
import { type Case, sayWhoIsMissing, startSides } from './sides.js';

export const nameOf = ({ network, job }: Case): string => `${network.name} ${job}`;

/** Measures cases one after another; each network is made once, as files that all sides read. */
export async function* measureCases(
  suite: 'train' | 'sample',
  context: SuiteContext,
  cases: readonly Case[],
): AsyncGenerator<Found> {
  const references = new Map<Network, string>();
  sayWhoIsMissing(context);
  try {
    for (const [done, one] of cases.entries()) {
      context.signal.throwIfAborted();
      context.progress(done, cases.length, `${nameOf(one)}, ${one.dtype}, batch ${one.batch}`);
      const reference = references.get(one.network) ?? (await makeReference(one.network, context.threads));
      references.set(one.network, reference);
      yield { measurement: await measureCase(suite, context, one, reference) };
    }
    context.progress(cases.length, cases.length, '');
  } finally {
    for (const folder of references.values()) rmSync(folder, { recursive: true });
  }
}

/** How a job is timed. */
interface Pace {
  /** Runs that one measurement lasts, so that a GPU's launch and synchronisation do not count. */
  runs: number;
  /** What is asked for first, and how often. */
  warmUp: string;
  warmUps: number;
  repetitions: number;
}

function paceOf({ device, quick, repetitions }: SuiteContext, { job }: Case): Pace {
  const gpu = device.startsWith('cuda') && !quick;
  const sampling = samplingOf(job);
  if (!sampling) {
    const runs = gpu ? { forward: 10, step: 3 }[job as 'forward' | 'step'] : 1;
    return {
      runs,
      warmUp: `${job} 1`,
      warmUps: quick ? 1 : gpu ? 20 : 3,
      repetitions: repetitions ?? (quick ? 3 : gpu ? 50 : 15),
    };
  }
  const { method, evaluations } = sampling;
  // A graph is recorded for the job itself; without one, two evaluations show all that there is.
  const warmUp = device.startsWith('cuda') ? `${job} 1` : `${method}-2 1`;
  const few = evaluations > 100 || !gpu;
  return { runs: 1, warmUp, warmUps: 1, repetitions: repetitions ?? (quick ? 1 : few ? 4 : 10) };
}

/** All sides in turn, then their memory, and how far each is from the reference. */
async function measureCase(suite: 'train' | 'sample', context: SuiteContext, one: Case, reference: string): Promise<Measurement> {
  const { job, batch, dtype, network } = one;
  const peers = await startSides(context, one, reference);
  const abort = () => {
    for (const peer of peers.values()) peer.stop();
  };
  context.signal.addEventListener('abort', abort);
  /** Numbers, or none where one of the others has failed, which is left out from then on. */
  const ask = async (name: string, peer: Peer, line: string): Promise<number[]> => {
    context.signal.throwIfAborted();
    try {
      return await peer.ask(line);
    } catch (error) {
      context.signal.throwIfAborted();
      if (name === 'ours') throw error;
      console.error(`${name} failed at '${line}', and is left out`);
      peers.delete(name);
      await peer.end();
      return [];
    }
  };
  try {
    const { runs, warmUp, warmUps, repetitions } = paceOf(context, one);
    const samples = new Map<string, number[]>();
    for (let repetition = -warmUps; repetition < repetitions; repetition++)
      for (const [name, peer] of [...peers]) {
        const seconds = await ask(name, peer, repetition < 0 ? warmUp : `${job} ${runs}`);
        if (repetition >= 0) samples.set(name, [...(samples.get(name) ?? []), ...seconds]);
        await pause(context.quick ? 5 : 20); // until its threads have stopped spinning
      }
    const sides: Record<string, Side> = {};
    for (const [name, peer] of [...peers]) {
      const seconds = samples.get(name) ?? [];
      const [peakBytes] = await ask(name, peer, 'memory');
      const errors = await ask(name, peer, `check ${job}`);
      if (!peers.has(name)) continue;
      sides[name] = {
        about: peer.about,
        seconds: spread(seconds),
        samples: seconds.length,
        peakBytes: peakBytes as number,
        errors,
      };
    }
    const ours = peers.get('ours') as Peer;
    const [flops, bytes, floor] = (await ours.ask(`work ${job}`)) as [number, number, number];
    const evaluations = samplingOf(job)?.evaluations ?? (job === 'forward' ? 1 : undefined);
    return {
      ...{ suite, name: nameOf(one), kind: job, network: network.name, dtype, batch, images: batch },
      ...(evaluations !== undefined && { evaluations }),
      work: { flops, bytes },
      floor,
      sides: markFastest(sides),
    };
  } finally {
    context.signal.removeEventListener('abort', abort);
    for (const peer of peers.values()) await peer.end();
  }
}

/** Marks the fastest of the others. */
function markFastest(sides: Record<string, Side>): Record<string, Side> {
  const { ours: _, ...others } = sides;
  const [fastest] = Object.values(others).sort((a, b) => a.seconds.median - b.seconds.median);
  if (fastest) fastest.fastest = true;
  return sides;
}
