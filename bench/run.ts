import { availableParallelism } from 'node:os';
import { type Device, listDevices, OptionError, openDevice } from 'diffusion-native';
import { type JsonTarget, say, writeResult } from '#lib/cli/output.js';
import { Progress } from '#lib/cli/progress.js';
import { measureCeilings } from './ceilings.js';
import { compare, comparison } from './compare.js';
import { format } from './format.js';
import { machine, now } from './machine.js';
import { checkWritable, resultText, writeFile } from './output.js';
import type { BenchResult, DTypeName, SuiteName } from './result.js';
import { readResult } from './schema.js';
import type { Found, Suite, SuiteContext } from './suite.js';
import { table } from './table.js';

/** What `diffusion-native bench` is given. */
export interface BenchArguments {
  suite: readonly SuiteName[];
  quick?: true;
  only?: string;
  dtype?: readonly DTypeName[];
  batch?: number[];
  repetitions?: number;
  peers?: true;
  python: string;
  compare?: string[];
  report?: string | true;
  note?: string;
  device: string;
  threads?: number;
  json?: JsonTarget;
}

const suites: Record<SuiteName, () => Promise<Suite>> = {
  kernels: async () => (await import('./suites/kernels.js')).kernels,
  blocks: async () => (await import('./suites/blocks.js')).blocks,
  train: async () => {
    const [{ train }, { breakdowns }] = await Promise.all([import('./suites/train.js'), import('./suites/breakdown.js')]);
    return async function* both(context) {
      yield* train(context);
      yield* breakdowns(context);
    };
  },
  sample: async () => (await import('./suites/sample.js')).sample,
  overhead: async () => (await import('./suites/overhead.js')).overhead,
};

/** Measures, or compares two results. The result file is written after each finding, so that a run that ends early leaves it. */
export async function bench(given: BenchArguments, signal: AbortSignal): Promise<void> {
  const { json, report, compare: files = [] } = given;
  if (files.length > 2) throw new OptionError(`bench: option 'compare' takes one or two files, got ${files.length}`);
  const before = files[0] === undefined ? null : await readResult(files[0]);
  if (before && files[1] !== undefined) {
    if (report !== undefined) throw new OptionError("bench: --report goes only with a measurement; 'report' shows two results");
    const compared = compare(before, await readResult(files[1]));
    for (const line of comparison(compared)) say(json, line);
    await writeResult(json, { ...compared });
    return;
  }
  if (typeof json === 'string') await checkWritable(json);
  const draw = report === undefined ? null : await drawing(report === true ? 'report.html' : report);
  const { result, context } = await begin(given, signal);
  const save = async () => {
    if (typeof json === 'string') await writeFile(json, resultText(result));
  };
  try {
    for (const name of given.suite) await runSuite(name, { result, context, save, json });
    if (context.only && isEmpty(result))
      throw new OptionError(`bench: nothing that was asked for has '${context.only}' in its name`);
    result.machineAfter = now(context.device);
    await save();
    if (draw) say(json, await draw(result));
  } finally {
    if (json === true) process.stdout.write(resultText(result));
  }
  if (before) for (const line of comparison(compare(before, result))) say(json, line);
}

/** What makes the page of a result; throws before anything is measured where it cannot be drawn or written. */
async function drawing(path: string): Promise<(result: BenchResult) => Promise<string>> {
  const [{ loadEcharts }, { drawPictures }, { page }] = await Promise.all([
    import('./report/chart.js'),
    import('./report/pictures.js'),
    import('./report/page.js'),
  ]);
  const echarts = await loadEcharts();
  await checkWritable(path);
  return async (result) => {
    const results = [{ label: result.machine.device as string, result }];
    await writeFile(path, page(results, drawPictures(echarts, results)));
    return path;
  };
}

/** The result without findings, and what all suites are told. */
async function begin(given: BenchArguments, signal: AbortSignal): Promise<{ result: BenchResult; context: SuiteContext }> {
  const { json, quick = false, peers = false, only = '', python, batch: batches, repetitions, note } = given;
  const device = await openDevice(given.device, { threads: given.threads });
  const { id, threads = cpuThreads() } = device.info;
  const dtypes = given.dtype ?? (device.info.bf16 ? (['f32', 'bf16'] as const) : (['f32'] as const));
  checkTypes(device, dtypes);
  await device.close();
  const about = machine(id);
  say(json, `${about.gpu?.name ?? [about.cpu, about.isa].join(', ')}, ${threads} threads, load ${about.loadAverage?.toFixed(2)}`);
  // Costs of calls are held against nothing.
  const measured = given.suite.some((name) => name !== 'overhead') ? dtypes : [];
  const pace = quick ? { milliseconds: 60, batches: 4 } : { milliseconds: 500, batches: 7 };
  const ceilings = await measureCeilings(id, threads, measured, pace);
  for (const { dtype, flopsPerSecond, bytesPerSecond } of ceilings)
    say(json, `at most ${format(flopsPerSecond / 1e9)} GFLOP/s and ${format(bytesPerSecond / 1e9)} GB/s in ${dtype}`);
  return {
    result: {
      benchmark: 'suite',
      format: 1,
      quick,
      machine: about,
      machineAfter: {},
      threads,
      ceilings,
      measurements: [],
      breakdowns: [],
      overheads: [],
      ...(note !== undefined && { note }),
    },
    context: {
      ...{ device: id, threads, dtypes, quick, only, peers, python, batches, repetitions, ceilings, signal },
      progress: () => {},
    },
  };
}

const isEmpty = ({ measurements, breakdowns, overheads }: BenchResult) =>
  measurements.length + breakdowns.length + overheads.length === 0;

const cpuThreads = () => listDevices().find(({ id }) => id === 'cpu')?.threads ?? availableParallelism();

function checkTypes({ info }: Device, dtypes: readonly DTypeName[]): void {
  if (dtypes.includes('bf16') && !info.bf16)
    throw new OptionError(`bench: option 'dtype' must be f32: ${info.id} (${info.isa ?? info.name}) does not compute in bf16`);
}

interface Run {
  result: BenchResult;
  context: SuiteContext;
  save: () => Promise<void>;
  json: JsonTarget;
}

/** Adds what a suite finds to the result, and shows it in the end, also where that comes early. */
async function runSuite(name: SuiteName, { result, context, save, json }: Run): Promise<void> {
  const suite = await suites[name]();
  const found: Found[] = [];
  let bar: { total: number; progress: Progress } | undefined;
  const progress: SuiteContext['progress'] = (done, total, what) => {
    if (bar?.total !== total) {
      bar?.progress.stop();
      bar = { total, progress: new Progress(name, total, done) };
    }
    if (done > 0) bar.progress.update(done, ...(what ? [what] : []));
  };
  try {
    for await (const one of suite({ ...context, progress })) {
      found.push(one);
      if ('measurement' in one) result.measurements.push(one.measurement);
      else if ('breakdown' in one) result.breakdowns.push(one.breakdown);
      else result.overheads.push(one.overhead);
      await save();
    }
  } finally {
    bar?.progress.stop();
    for (const line of table(name, found)) say(json, line);
  }
}
