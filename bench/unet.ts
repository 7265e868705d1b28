// The DDPM CIFAR-10 UNet (35.7 M parameters) at batch 4 in float32: forward and whole training step (noising, forward, loss,
// backward, clip, AdamW, EMA, dropout 0.1), beside PyTorch where python3 has it, interleaved A-B-A-B in one run.
//   node out/bench/unet.js [--batch 4] [--threads 2] [--repetitions 15] [--python python3] [--json file]
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { machine } from './machine.js';
import { Peer } from './peers/peer.js';
import { type Spread, spread } from './statistics.js';

const { values: options } = parseArgs({
  options: {
    batch: { type: 'string', default: '4' },
    threads: { type: 'string', default: '2' },
    repetitions: { type: 'string', default: '15' },
    python: { type: 'string', default: 'python3' },
    json: { type: 'string' },
  },
});

const root = join(__dirname, '..', '..');
const jobs = ['forward', 'step'] as const;

interface Result {
  seconds: Spread;
  peakBytes: number;
}

async function startPeers(): Promise<Map<string, () => Promise<Peer>>> {
  const { batch, threads, python } = options;
  const peers = new Map([['ours', () => Peer.start(process.execPath, join(__dirname, 'peers', 'ours.js'), batch, threads)]]);
  if (spawnSync(python, ['-c', 'import torch']).status === 0)
    for (const layout of ['contiguous', 'channels_last'])
      peers.set(`torch ${layout}`, () =>
        Peer.start(python, join(root, 'bench', 'peers', 'torch_unet.py'), batch, threads, layout),
      );
  else console.log(`${python} has no PyTorch: nothing to compare with`);
  return peers;
}

/** One job on every peer in turn; each peer is a fresh process, so that the peak memory belongs to the job. */
async function measure(job: string, peers: Map<string, () => Promise<Peer>>): Promise<Map<string, Result & { about: string }>> {
  const running = new Map<string, Peer>();
  for (const [name, start] of peers) running.set(name, await start());
  const samples = new Map<string, number[]>();
  for (let repetition = -3; repetition < Number(options.repetitions); repetition++)
    for (const [name, peer] of running) {
      const seconds = await peer.ask(job);
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
  const peers = await startPeers();
  const about = machine();
  console.log(
    `${about.cpu}, ${about.isa}, ${options.threads} threads, batch ${options.batch}, load ${about.loadAverage?.toFixed(2)}`,
  );
  const report: Record<string, unknown> = {
    benchmark: 'unet',
    ...about,
    batch: Number(options.batch),
    threads: Number(options.threads),
  };
  for (const job of jobs) {
    const results = await measure(job, peers);
    const ours = results.get('ours') as Result;
    for (const [name, { seconds, peakBytes }] of results) {
      const range = `${(seconds.p10 * 1e3).toFixed(0)} to ${(seconds.p90 * 1e3).toFixed(0)}`;
      const ratio = name === 'ours' ? '' : `  ours is ${(seconds.median / ours.seconds.median).toFixed(2)}× as fast`;
      console.log(
        `${job.padEnd(8)} ${name.padEnd(20)} ${(seconds.median * 1e3).toFixed(0).padStart(6)} ms  (${range})  peak ${(peakBytes / 2 ** 20).toFixed(0)} MB${ratio}`,
      );
    }
    report[job] = Object.fromEntries(results);
  }
  if (options.json) writeFileSync(options.json, `${JSON.stringify(report, null, 2)}\n`);
}

void main();
