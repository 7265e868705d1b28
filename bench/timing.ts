// Recorded operations, timed in batches that a synchronisation ends.
import { readdirSync, readFileSync } from 'node:fs';
import type { Device, Program } from 'diffusion-native';

/** How long and how often. */
export interface Pace {
  /** That a batch of runs lasts, so that the synchronisation at its end does not count. */
  milliseconds: number;
  /** Batches whose times are kept. */
  batches: number;
}

/** Runs of one program that a batch has at most. */
const mostRuns = 4096;

/** A program that is timed. */
export class Timed {
  readonly #device: Device;
  readonly #program: Program;
  /** Times that the program holds what is timed. */
  readonly #repeats: number;
  #count = 1;

  private constructor(device: Device, program: Program, repeats: number) {
    this.#device = device;
    this.#program = program;
    this.#repeats = repeats;
  }

  /** Warms it up, and finds how many runs last as long as a batch should. */
  static async prepare(device: Device, program: Program, repeats: number, { milliseconds }: Pace): Promise<Timed> {
    const timed = new Timed(device, program, repeats);
    await timed.#batch();
    for (let taken = await timed.#batch(); taken < milliseconds && timed.#count < mostRuns; taken = await timed.#batch())
      timed.#count = Math.min(mostRuns, Math.ceil(timed.#count * Math.min(8, Math.max(1.5, milliseconds / taken))));
    return timed;
  }

  /** Milliseconds of a batch. */
  async #batch(): Promise<number> {
    await this.#device.synchronize();
    const start = performance.now();
    for (let i = 0; i < this.#count; i++) this.#program.run();
    await this.#device.synchronize();
    return performance.now() - start;
  }

  /** Seconds of what is timed, once a batch. */
  async measure(batches: number): Promise<number[]> {
    const samples: number[] = [];
    for (let i = 0; i < batches; i++) samples.push((await this.#batch()) / 1e3 / this.#count / this.#repeats);
    return samples;
  }
}

/** Times that a program holds an operation at least: a GPU's launch of a program takes as long as a short operation. */
const launchesOnGpu = 10;

/** Operands are made anew until they are so many times as large as the last cache. */
const cachesFull = 2;
const mostSets = 32;
/** More than GPUs have of their last cache. */
const gpuCache = 128 * 2 ** 20;

/** How many sets of operands, used in turn, keep each run from finding its own in the cache, and how often each is recorded. */
export function rotation(device: string, bytes: number): { sets: number; rounds: number } {
  const cache = device.startsWith('cuda') ? gpuCache : device === 'cpu' ? cpuCache() : 0;
  const sets = Math.min(mostSets, Math.max(1, Math.ceil((cachesFull * cache) / Math.max(1, bytes))));
  return { sets, rounds: device.startsWith('cuda') ? Math.ceil(launchesOnGpu / sets) : 1 };
}

/** Bytes of the processor's largest cache; 32 MiB where the system does not say. */
export function cpuCache(): number {
  const folder = '/sys/devices/system/cpu/cpu0/cache';
  try {
    const sizes = readdirSync(folder)
      .filter((name) => name.startsWith('index'))
      .map((name) => Number.parseInt(readFileSync(`${folder}/${name}/size`, 'utf8'), 10) * 1024);
    return Math.max(...sizes);
  } catch {
    return 32 * 2 ** 20;
  }
}
