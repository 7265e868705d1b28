// Measurements of whole steps and samplings, arranged for pictures against the batch.
import type { BenchResult, Measurement } from '../result.js';
import type { Line } from './lines.js';
import { enginesOf, groupBy } from './picture.js';

/** Measurements that differ in batch and element type alone. */
export interface Series<M extends Measurement> {
  /** 'cifar10, ddim-50' */
  title: string;
  measurements: readonly M[];
}

/** Groups them by network and kind. */
export function seriesOf<M extends Measurement>(measurements: readonly M[]): Series<M>[] {
  return [...groupBy(measurements, ({ suite, network, kind }) => JSON.stringify([suite, network, kind]))].map(([, members]) => {
    const { network, kind } = members[0] as M;
    return { title: network === undefined ? kind : `${network}, ${kind}`, measurements: members };
  });
}

/** A measurement whose batch is known. */
export type AtBatch = Measurement & Required<Pick<Measurement, 'batch'>>;

/** A line for each engine and element type, and one for the floor of each; `value` of so many seconds, as the picture shows it. */
export function linesOf<M extends AtBatch>(
  measurements: readonly M[],
  value: (seconds: number, measurement: M) => number,
  write: (value: number) => string,
): Line[] {
  const line = (engine: string, dtype: 'f32' | 'bf16'): Line => ({
    engine,
    dtype,
    points: [...measurements]
      .sort((a, b) => a.batch - b.batch)
      .flatMap((one) => {
        const taken = engine === 'floor' ? one.floor : one.sides[engine]?.seconds.median;
        if (one.dtype !== dtype || !taken) return [];
        const y = value(taken, one);
        return [{ batch: one.batch, value: y, hint: `${engine}, ${dtype}, batch ${one.batch}: ${write(y)}` }];
      }),
  });
  const dtypes = ['bf16', 'f32'] as const;
  const engines = enginesOf(measurements).filter((engine) => !isRepeated(engine, measurements));
  return [...engines, 'floor'].flatMap((engine) => dtypes.map((dtype) => line(engine, dtype)));
}

/** Whether a side is an engine in a type that it has a line for: 'onnxruntime f32' beside bf16, where it runs in f32 once more. */
function isRepeated(name: string, measurements: readonly Measurement[]): boolean {
  const [, engine, dtype] = /^(.+) (f32|bf16)$/.exec(name) ?? [];
  return engine !== undefined && measurements.some((one) => one.dtype === dtype && one.sides[engine] !== undefined);
}

/** In words: where each line begins and ends. */
export function describeLines(lines: readonly Line[], write: (value: number) => string): string {
  return lines
    .filter(({ points }) => points.length > 0)
    .map(({ engine, dtype, points }) => {
      const all = points.map(({ batch, value }) => `${write(value)} at batch ${batch}`);
      return `${engine}, ${dtype}: ${all.join(', ')}`;
    })
    .join('; ');
}

/** What a whole step or sampling is: of the suites that have batches. */
export const steps = ({ measurements }: BenchResult): Measurement[] =>
  measurements.filter(({ suite }) => suite === 'train' || suite === 'sample');
