// The result file of the bench suite: what bench/ writes, `--compare`, the README's tables and the report read.
import type { Spread } from './statistics.js';

/** Element type that something computes in. */
export type DTypeName = 'f32' | 'bf16';

/** The parts of the bench suite. */
export type SuiteName = 'kernels' | 'blocks' | 'train' | 'sample' | 'overhead';

/** What the machine can do at most, measured in the same run. */
export interface Ceiling {
  dtype: DTypeName;
  /** Of the fastest of a few large products of matrices, convolutions among them. */
  flopsPerSecond: number;
  /** Of a copy beyond the caches, or of a pass that changes an array in place; bytes read and bytes written together. */
  bytesPerSecond: number;
}

/** FLOPs and bytes of one run, as the operations themselves count them. */
export interface Work {
  flops: number;
  bytes: number;
}

/** One engine's part in a measurement. */
export interface Side {
  /** Engine and version, as it says of itself. */
  about: string;
  /** Seconds of one run. */
  seconds: Spread;
  /** Runs that were timed. */
  samples: number;
  peakBytes?: number;
  /** Relative L2 distances from the common reference. */
  errors?: number[];
  /** The fastest of the others. */
  fastest?: true;
}

/** Something that was timed, by every side in turn. */
export interface Measurement {
  suite: Exclude<SuiteName, 'overhead'>;
  /** Unique within a suite, network, element type and batch: 'conv 3×3, 32², 128 → 128, forward' or 'cifar10 step'. */
  name: string;
  /** What the report groups by: 'convolution forward', 'attention backward', 'optimiser', 'step', 'forward', 'ddim-50' … */
  kind: string;
  network?: string;
  dtype: DTypeName;
  batch?: number;
  /** Images that one run makes or learns from. */
  images?: number;
  /** UNet evaluations in one run. */
  evaluations?: number;
  work?: Work;
  /** Seconds below which no run can end on this machine: Σ over its operations of max(FLOPs / ceiling, bytes / ceiling). */
  floor?: number;
  /** Ours is 'ours'; the others 'onnxruntime', 'torch channels_last' … */
  sides: Record<string, Side>;
}

/** A cost of calls, of memory or of installation, in its own unit. */
export interface Overhead {
  name: string;
  unit: 'µs' | 'ms' | 'bytes';
  value: Spread;
}

/** Where the time of one run goes. */
export interface Breakdown {
  /** Of a measurement: `name` and `dtype` are its. */
  name: string;
  dtype: DTypeName;
  batch: number;
  /** By kind of operation: its seconds in a run, how often it runs, and its work. */
  kinds: Record<string, { seconds: number; count: number; floor: number } & Work>;
}

/** A result file. */
export interface BenchResult {
  benchmark: 'suite';
  /** 1: raised when a field changes its meaning. */
  format: 1;
  quick: boolean;
  /** What bench/machine.ts says: date, commit, device, processor or GPU with driver and clocks, versions, load. */
  machine: Record<string, unknown>;
  machineAfter: Record<string, unknown>;
  threads: number;
  ceilings: Ceiling[];
  measurements: Measurement[];
  breakdowns: Breakdown[];
  overheads: Overhead[];
  note?: string;
}
