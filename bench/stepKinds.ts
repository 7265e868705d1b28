import { floorOf } from './floor.js';
import type { Breakdown, Ceiling } from './result.js';
import type { Ran } from './trace.js';

type Kinds = Breakdown['kinds'];

/** Kinds by the beginning of an operation's name; the first that fits. */
const beginnings: readonly (readonly [beginning: string, kind: string])[] = [
  ['conv2dBackwardWeights', 'convolution weights'],
  ['conv2dBackwardData', 'convolution data'],
  ['conv2d', 'convolution forward'],
  ['attention', 'attention'],
  ['groupNorm', 'normalisation'],
  ['linear', 'linear'],
  ['adamW', 'optimiser'],
  ['gradientNorm', 'optimiser'],
  ...['add', 'mul', 'scale', 'silu', 'dropout', 'cast', 'mean', 'mseLoss', 'noising', 'sumPixels', 'variationalBound'].map(
    (name) => [name, 'pointwise'] as const,
  ),
];

/** Of an operation that is none of those above: draws, look-ups, transfers. */
const rest = 'rest';
/** Of the time in which nothing ran. */
const gaps = 'gaps';

export const kindOfCommand = (name: string): string => beginnings.find(([beginning]) => name.startsWith(beginning))?.[1] ?? rest;

/** The operation that ends a training step. */
const last = 'adamW';

/**
 * Where the last `steps` training steps of a trace spent their time, a step on average. A step begins where the optimiser of the
 * one before ends.
 */
export function kindsOf(ran: readonly Ran[], steps: number, ceilings: readonly Ceiling[]): Kinds {
  const ends = ran.flatMap(({ name }, i) => (name === last ? [i] : []));
  const [from, to] = [ends.at(-1 - steps), ends.at(-1)];
  if (from === undefined || to === undefined)
    throw new Error(`the trace holds ${ends.length} steps, not ${steps} and one before`);
  const endOf = (i: number) => (ran[i] as Ran).start + (ran[i] as Ran).seconds;
  const kinds: Kinds = {};
  const within = ran.slice(from + 1, to + 1);
  for (const one of within) {
    const kind = kindOfCommand(one.name);
    kinds[kind] ??= { seconds: 0, count: 0, floor: 0, flops: 0, bytes: 0 };
    const sum = kinds[kind];
    sum.seconds += one.seconds;
    sum.count++;
    sum.floor += floorOf([one], ceilings);
    sum.flops += one.flops;
    sum.bytes += one.bytes;
  }
  const busy = within.reduce((sum, { seconds }) => sum + seconds, 0);
  kinds[gaps] = { seconds: Math.max(0, endOf(to) - endOf(from) - busy), count: 0, floor: 0, flops: 0, bytes: 0 };
  for (const sum of Object.values(kinds))
    for (const name of ['seconds', 'count', 'floor', 'flops', 'bytes'] as const) sum[name] /= steps;
  return kinds;
}
