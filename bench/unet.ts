// The DDPM CIFAR-10 UNet (35.7 M parameters): forward, whole training step (noising, forward, loss, backward, clip, AdamW, EMA,
// dropout 0.1) and, on a GPU, one step of sampling, beside PyTorch where python3 has it and onnxruntime-node where it is installed.
// All sides of a case take turns in one run, each in a process of its own; afterwards each is checked against one reference.
//   node dist/bench/unet.js [--device cpu] [--dtype f32|bf16, on the CPU both] [--batch 4, on the CPU 1,4,16, on a GPU 128]
//                          [--threads 2] [--repetitions 15, on a GPU 50] [--jobs forward,step] [--variants graph,compile] [--quick]
//                          [--python python3] [--note text] [--json file]
import { spawnSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { listDevices } from 'diffusion-native';
import { gpu, machine } from './machine.js';
import { Peer, type PeerOptions } from './peers/peer.js';
import { makeReference } from './peers/reference.js';
import { type Spread, spread } from './statistics.js';

const text = { type: 'string' } as const;
const { values: options } = parseArgs({
  options: {
    device: { type: 'string', default: 'cpu' },
    dtype: text,
    batch: text,
    threads: { type: 'string', default: '2' },
    repetitions: text,
    jobs: text,
    variants: text,
    quick: { type: 'boolean', default: false },
    python: { type: 'string', default: 'python3' },
    note: text,
    json: text,
  },
});

const root = join(__dirname, '..', '..');
const { quick, device } = options;
const onGpu = device.startsWith('cuda');
type Job = 'forward' | 'step' | 'sampling';
type DType = PeerOptions['dtype'];
const jobs = (options.jobs ?? (onGpu || quick ? 'forward,step,sampling' : 'forward,step')).split(',') as Job[];
/** Runs that one measurement lasts, so that a GPU's launch and synchronisation do not count. */
const runs = onGpu && !quick ? { forward: 10, step: 3, sampling: 1 } : { forward: 1, step: 1, sampling: 1 };
const repetitions = Number(options.repetitions ?? (quick ? 1 : onGpu ? 50 : 15));
const warmUps = quick ? 1 : onGpu ? 20 : 3;
const computesBf16 = listDevices().find(({ id }) => device.startsWith(id))?.bf16 === true;
const dtypes = (options.dtype?.split(',') ?? (onGpu ? ['f32'] : computesBf16 ? ['f32', 'bf16'] : ['f32'])) as DType[];
/** How PyTorch is run (bench/peers/torch_unet.py): on a GPU the ways that may be its fastest. */
const variantsOf = (dtype: DType) =>
  (options.variants ?? (!onGpu ? 'contiguous,channels_last' : dtype === 'bf16' ? 'graph,graph weights,compile' : 'graph')).split(
    ',',
  );
const cifar = { size: 32, base: 128, mults: [1, 2, 2, 2], blocks: 2, attention: 16, groups: 32, dropout: 0.1 };
const tiny = { size: 8, base: 8, mults: [1, 2], blocks: 1, attention: 4, groups: 4, dropout: 0.1 };
const network = quick ? tiny : cifar;
/** Batches: training on the CPU at 4 only. */
const batchesOf = (job: Job) =>
  (options.batch ?? (quick ? '2' : onGpu ? '128' : job === 'forward' ? '1,4,16' : '4')).split(',').map(Number);
const given = { threads: Number(options.threads), device, network, evaluations: quick ? 2 : 20 };

interface Result {
  about: string;
  dtype: DType;
  seconds: Spread;
  peakBytes: number;
  /** Relative L2 distance from the reference in float32: of the prediction and, where it trains, of the gradients' norms. */
  errors: number[];
}

const has = (command: string, ...args: string[]) => spawnSync(command, args, { stdio: 'ignore' }).status === 0;
const hasTorch = has(options.python, '-c', 'import torch');
const hasOnnx = !onGpu && has(process.execPath, '-e', 'require("onnxruntime-node")');

/** The sides of a case, ready: a name and the element type each. */
async function startPeers(job: Job, batch: number, reference: string): Promise<Map<string, [DType, Peer]>> {
  const peers = new Map<string, [DType, Peer]>();
  const here = (name: string) => join(__dirname, 'peers', name);
  for (const dtype of dtypes) {
    const told: PeerOptions = { ...given, batch, dtype, reference };
    const add = async (name: string, command: string, program: string, more: object = {}) => {
      peers.set(`${name} ${dtype}`, [dtype, await Peer.start(command, program, JSON.stringify({ ...told, ...more }))]);
    };
    await add('ours', process.execPath, here('ours.js'));
    if (hasOnnx && job === 'forward' && dtype === 'f32') await add('onnxruntime', process.execPath, here('onnx.js'));
    const program = join(root, 'bench', 'peers', 'torch_unet.py');
    if (hasTorch) for (const variant of variantsOf(dtype)) await add(`torch ${variant}`, options.python, program, { variant });
  }
  return peers;
}

/** One job by every peer in turn; each peer is a fresh process, so that the peak memory belongs to the job. */
async function measure(job: Job, batch: number, reference: string): Promise<Record<string, Result>> {
  const peers = await startPeers(job, batch, reference);
  const samples = new Map<string, number[]>();
  for (let repetition = -warmUps; repetition < repetitions; repetition++)
    for (const [name, [, peer]] of peers) {
      const [seconds] = await peer.ask(`${job} ${runs[job]}`);
      if (repetition >= 0) samples.set(name, [...(samples.get(name) ?? []), seconds as number]);
      await pause(quick ? 0 : 20); // until the last one's threads have stopped spinning
    }
  const results: Record<string, Result> = {};
  for (const [name, [dtype, peer]] of peers) {
    const [peakBytes] = (await peer.ask('memory')) as [number];
    const seconds = spread(samples.get(name) ?? []);
    results[name] = { about: peer.about, dtype, seconds, peakBytes, errors: await peer.ask('check') };
    peer.stop();
  }
  return results;
}

/** What may lie between a side and the reference: rounding, far below anything computed differently. */
const tolerance = { f32: 1e-4, bf16: 5e-2 };

function print(job: Job, batch: number, results: Record<string, Result>): void {
  console.log(`${job}, batch ${batch}`);
  for (const [name, { dtype, seconds, peakBytes, errors }] of Object.entries(results)) {
    const digits = seconds.median < 0.1 ? 2 : 0;
    const [median, p10, p90] = [seconds.median, seconds.p10, seconds.p90].map((one) => (one * 1e3).toFixed(digits));
    const ours = (results[`ours ${dtype}`] as Result).seconds.median;
    const ratio = name.startsWith('ours') ? '' : `, ours is ${(seconds.median / ours).toFixed(2)}× as fast`;
    const memory = `peak ${(peakBytes / 2 ** 20).toFixed(0)} MB`;
    const wrong = errors.some((error) => !(error <= tolerance[dtype])) ? ' WRONG' : '';
    const checked = `off by ${errors.map((error) => error.toExponential(1)).join(', ')}${wrong}`;
    console.log(`  ${name.padEnd(24)} ${median?.padStart(7)} ms  (${p10} to ${p90})  ${memory}, ${checked}${ratio}`);
  }
}

async function main(): Promise<void> {
  const about = machine(device);
  const where = onGpu ? about.gpu?.name : `${about.cpu}, ${about.isa}, ${given.threads} threads`;
  console.log(`${where}, load ${about.loadAverage?.toFixed(2)}`);
  if (!hasTorch) console.log(`${options.python} has no PyTorch to compare with`);
  if (!hasOnnx && !onGpu)
    console.log('no onnxruntime-node to compare with: npm install --no-save onnxruntime-node --ignore-scripts');
  const reference = await makeReference(network);
  try {
    const cases: { job: Job; batch: number; results: Record<string, Result> }[] = [];
    const name = quick ? 'unet quick' : 'unet';
    // After each case, so that a run that is cut short leaves what it has.
    const write = () => {
      const after = onGpu ? { gpuAfter: gpu(device) } : { loadAfter: machine(device).loadAverage };
      const report = { benchmark: name, ...about, ...given, repetitions, note: options.note, cases, ...after };
      if (options.json) writeFileSync(options.json, `${JSON.stringify(report, null, 2)}\n`);
    };
    for (const job of jobs)
      for (const batch of batchesOf(job)) {
        const results = await measure(job, batch, reference);
        print(job, batch, results);
        cases.push({ job, batch, results });
        write();
      }
    const all = cases.flatMap(({ results }) => Object.values(results));
    if (all.some(({ dtype, errors }) => errors.some((error) => !(error <= tolerance[dtype])))) process.exitCode = 1;
  } finally {
    rmSync(reference, { recursive: true });
  }
}

void main();
