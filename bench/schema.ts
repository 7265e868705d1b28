import { FileFormatError } from 'diffusion-native';
import * as v from 'valibot';
import { readJson } from '#lib/files/json.js';
import type { BenchResult } from './result.js';

const finite = v.pipe(v.number(), v.finite()); // JSON has no infinity, but 1e999 is read as one
const positive = v.pipe(finite, v.gtValue(0));
const notNegative = v.pipe(finite, v.minValue(0));
const count = v.pipe(v.number(), v.integer(), v.minValue(1));
const dtype = v.picklist(['f32', 'bf16']);
const spread = v.strictObject({ median: finite, p10: finite, p90: finite });
const work = { flops: notNegative, bytes: notNegative };

const side = v.strictObject({
  about: v.string(),
  seconds: v.strictObject({ median: positive, p10: positive, p90: positive }),
  samples: count,
  peakBytes: v.optional(notNegative),
  errors: v.optional(v.array(finite)),
  fastest: v.optional(v.literal(true)),
});

const measurement = v.strictObject({
  suite: v.picklist(['kernels', 'blocks', 'train', 'sample']),
  name: v.string(),
  kind: v.string(),
  network: v.optional(v.string()),
  dtype,
  batch: v.optional(count),
  images: v.optional(count),
  evaluations: v.optional(count),
  work: v.optional(v.strictObject(work)),
  floor: v.optional(notNegative),
  sides: v.record(v.string(), side),
});

const schema = v.strictObject({
  benchmark: v.literal('suite'),
  format: v.literal(1),
  quick: v.boolean(),
  machine: v.record(v.string(), v.unknown()),
  machineAfter: v.record(v.string(), v.unknown()),
  threads: count,
  ceilings: v.array(v.strictObject({ dtype, flopsPerSecond: positive, bytesPerSecond: positive })),
  measurements: v.array(measurement),
  breakdowns: v.array(
    v.strictObject({
      name: v.string(),
      dtype,
      batch: count,
      kinds: v.record(v.string(), v.strictObject({ seconds: notNegative, count: notNegative, floor: notNegative, ...work })),
    }),
  ),
  overheads: v.array(v.strictObject({ name: v.string(), unit: v.picklist(['µs', 'ms', 'bytes']), value: spread })),
  note: v.optional(v.string()),
}) satisfies v.GenericSchema<unknown, BenchResult>;

/** Checks what a result file held. @throws FileFormatError naming the file and the field. */
export function parseResult(value: unknown, path: string): BenchResult {
  const { benchmark, format } = (value ?? {}) as Partial<BenchResult>;
  if (benchmark === 'suite' && typeof format === 'number' && (format as number) !== 1)
    throw new FileFormatError(
      `'${path}' has format ${format}, this version of the package reads format 1: it was written by another`,
    );
  const checked = v.safeParse(schema, value, { abortEarly: true });
  if (checked.success) return checked.output;
  const [issue] = checked.issues;
  const field = v.getDotPath(issue);
  throw new FileFormatError(
    `'${path}' is not a result of 'diffusion-native bench': ${field === null ? issue.message : `${field}: ${issue.message}`}`,
  );
}

/** Reads a result file. @throws FileFormatError when it cannot be read, is not JSON, or naming the field that is wrong. */
export async function readResult(path: string): Promise<BenchResult> {
  return parseResult(await readJson(path), path);
}
