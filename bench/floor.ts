import type { ProgramCommand } from 'diffusion-native';
import type { Ceiling, Work } from './result.js';

/** An operation of a recorded program, as it describes itself. */
export type Command = Pick<ProgramCommand, 'dtype' | 'flops' | 'bytes'>;

/** FLOPs and bytes of a program that holds the same `repeats` times. */
export function workOf(commands: readonly Command[], repeats = 1): Work {
  const sum = (of: 'flops' | 'bytes') => commands.reduce((total, command) => total + command[of], 0) / repeats;
  return { flops: sum('flops'), bytes: sum('bytes') };
}

/**
 * Seconds below which these operations cannot end one after another: each needs the time of its arithmetic or that of its memory,
 * whichever is longer. Where an element type has no ceiling of its own, another's stands for it.
 */
export function floorOf(commands: readonly Command[], ceilings: readonly Ceiling[]): number {
  const ceilingOf = (dtype: string) => (ceilings.find((one) => one.dtype === dtype) ?? ceilings[0]) as Ceiling;
  return commands.reduce((total, { dtype, flops, bytes }) => {
    const { flopsPerSecond, bytesPerSecond } = ceilingOf(dtype);
    return total + Math.max(flops / flopsPerSecond, bytes / bytesPerSecond);
  }, 0);
}
