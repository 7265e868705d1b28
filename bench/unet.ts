// The DDPM CIFAR-10 UNet (35.7 M parameters): forward, whole training step (noising, forward, loss, backward, clip, AdamW, EMA,
// dropout 0.1) and, on a GPU, one step of sampling, beside PyTorch where python3 has it, interleaved A-B-A-B in one run.
//   node out/bench/unet.js [--device cpu] [--dtype f32|bf16] [--batch 4, on a GPU 128] [--threads 2] [--repetitions 15, on a GPU 50]
//                          [--variants graph,compile] [--quick] [--python python3] [--json file]
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { gpu, machine } from './machine.js';
import { Peer, type PeerOptions } from './peers/peer.js';
import { type Spread, spread } from './statistics.js';

const { values: options } = parseArgs({
  options: {
    device: { type: 'string', default: 'cpu' },
    dtype: { type: 'string', default: 'f32' },
    batch: { type: 'string' },
    threads: { type: 'string', default: '2' },
    repetitions: { type: 'string' },
    variants: { type: 'string' },
    quick: { type: 'boolean', default: false },
    python: { type: 'string', default: 'python3' },
    json: { type: 'string' },
  },
});

const root = join(__dirname, '..', '..');
const { quick, device } = options;
const onGpu = device.startsWith('cuda');
const bf16 = options.dtype === 'bf16';
const jobs = onGpu || quick ? (['forward', 'step', 'sampling'] as const) : (['forward', 'step'] as const);
/** Runs that one measurement lasts, so that a GPU's launch and synchronisation do not count. */
const runs = onGpu && !quick ? { forward: 10, step: 3, sampling: 1 } : { forward: 1, step: 1, sampling: 1 };
const repetitions = Number(options.repetitions ?? (quick ? 1 : onGpu ? 50 : 15));
const warmUps = quick ? 1 : onGpu ? 20 : 3;
/** How PyTorch is run (bench/peers/torch_unet.py): on a GPU the ways that may be its fastest. */
const gpuVariants = bf16 ? 'graph,graph weights,compile' : 'graph';
const variants = (options.variants ?? (onGpu ? gpuVariants : 'contiguous,channels_last')).split(',');
const cifar = { size: 32, base: 128, mults: [1, 2, 2, 2], blocks: 2, attention: 16, groups: 32, dropout: 0.1 };
const tiny = { size: 8, base: 8, mults: [1, 2], blocks: 1, attention: 4, groups: 4, dropout: 0.1 };
const peerOptions: PeerOptions = {
  batch: Number(options.batch ?? (quick ? 2 : onGpu ? 128 : 4)),
  threads: Number(options.threads),
  device,
  dtype: bf16 ? 'bf16' : 'f32',
  network: quick ? tiny : cifar,
  evaluations: quick ? 2 : 20,
};

interface Result {
  seconds: Spread;
  peakBytes: number;
}

function possiblePeers(): Map<string, () => Promise<Peer>> {
  const { python } = options;
  const given = JSON.stringify(peerOptions);
  const peers = new Map([['ours', () => Peer.start(process.execPath, join(__dirname, 'peers', 'ours.js'), given)]]);
  const program = join(root, 'bench', 'peers', 'torch_unet.py');
  if (spawnSync(python, ['-c', 'import torch']).status === 0)
    for (const variant of variants)
      peers.set(`torch ${variant}`, () => Peer.start(python, program, JSON.stringify({ ...peerOptions, variant })));
  else console.log(`${python} has no PyTorch: nothing to compare with`);
  return peers;
}

/** One job on every peer in turn; each peer is a fresh process, so that the peak memory belongs to the job. */
async function measure(
  job: (typeof jobs)[number],
  peers: Map<string, () => Promise<Peer>>,
): Promise<Map<string, Result & { about: string }>> {
  const running = new Map<string, Peer>();
  for (const [name, start] of peers) running.set(name, await start());
  const samples = new Map<string, number[]>();
  for (let repetition = -warmUps; repetition < repetitions; repetition++)
    for (const [name, peer] of running) {
      const seconds = await peer.ask(`${job} ${runs[job]}`);
      if (repetition >= 0) samples.set(name, [...(samples.get(name) ?? []), seconds]);
    }
  const results = new Map<string, Result & { about: string }>();
  for (const [name, peer] of running) {
    results.set(name, { about: peer.about, seconds: spread(samples.get(name) ?? []), peakBytes: await peer.ask('memory') });
    peer.stop();
  }
  return results;
}

async function main(): Promise<void> {
  const peers = possiblePeers();
  const about = machine(device);
  const { batch, threads, dtype } = peerOptions;
  const where = onGpu ? about.gpu?.name : `${about.cpu}, ${about.isa}, ${threads} threads`;
  console.log(`${where}, ${dtype}, batch ${batch}, load ${about.loadAverage?.toFixed(2)}`);
  const report: Record<string, unknown> = { benchmark: quick ? 'unet quick' : 'unet', ...about, ...peerOptions };
  for (const job of jobs) {
    const results = await measure(job, peers);
    const ours = results.get('ours') as Result;
    for (const [name, { seconds, peakBytes }] of results) {
      const digits = seconds.median < 0.1 ? 3 : 0;
      const [median, p10, p90] = [seconds.median, seconds.p10, seconds.p90].map((one) => (one * 1e3).toFixed(digits));
      const ratio = name === 'ours' ? '' : `  ours is ${(seconds.median / ours.seconds.median).toFixed(2)}× as fast`;
      console.log(
        `${job.padEnd(8)} ${name.padEnd(20)} ${median?.padStart(7)} ms  (${p10} to ${p90})  peak ${(peakBytes / 2 ** 20).toFixed(0)} MB${ratio}`,
      );
    }
    report[job] = Object.fromEntries(results);
  }
  if (onGpu) report.gpuAfter = gpu(device);
  if (options.json) writeFileSync(options.json, `${JSON.stringify(report, null, 2)}\n`);
}

void main();
