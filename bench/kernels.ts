// Single operations, recorded and replayed, beside PyTorch's (cuDNN's on a GPU) where python3 has it: milliseconds and TFLOP/s or
// GB/s. Rounds alternate between the two sides; each side gives the median of batches that a synchronisation ends.
//   node dist/bench/kernels.js [--device cuda] [--dtype bf16] [--network cifar|imagenet64] [--batch 128] [--only conv] [--quick]
//                             [--rounds 3] [--python python3] [--json file]
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Device, openDevice } from 'diffusion-native';
import { prepare } from './kernelRuns.js';
import { type DTypeName, nameOf, specsOf, workOf } from './kernelSpecs.js';
import { gpu, machine } from './machine.js';
import { Peer } from './peers/peer.js';
import { type Spread, spread } from './statistics.js';

const { values: options } = parseArgs({
  options: {
    device: { type: 'string', default: 'cpu' },
    dtype: { type: 'string', default: 'f32' },
    network: { type: 'string', default: 'cifar' },
    batch: { type: 'string', default: '128' },
    only: { type: 'string', default: '' },
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '3' },
    python: { type: 'string', default: 'python3' },
    json: { type: 'string' },
  },
});
const dtype = options.dtype as DTypeName;
const network = options.quick ? 'quick' : options.network;
/** Milliseconds that a batch of replays lasts, so that the synchronisation at its end does not count. */
const milliseconds = options.quick ? 0 : 20;
const batches = options.quick ? 2 : 11;
/** Times that one program holds the operation, so that starting a program does not count. */
const repeats = options.quick || !options.device.startsWith('cuda') ? 1 : 10;

/** Median seconds of the operation. */
async function time(device: Device, run: () => void): Promise<number> {
  using program = device.record(() => {
    for (let i = 0; i < repeats; i++) run();
  });
  const batch = async (count: number) => {
    await device.synchronize();
    const start = performance.now();
    for (let i = 0; i < count; i++) program.run();
    await device.synchronize();
    return performance.now() - start;
  };
  let count = 1;
  for (let taken = await batch(1); taken < milliseconds && count < 4096; taken = await batch(count))
    count = Math.min(4096, Math.ceil(count * Math.min(8, Math.max(1.5, milliseconds / taken))));
  const samples: number[] = [];
  for (let i = 0; i < batches; i++) samples.push((await batch(count)) / 1e3 / count / repeats);
  return spread(samples).median;
}

async function startPeer(): Promise<Peer | null> {
  const { python, device } = options;
  if (spawnSync(python, ['-c', 'import torch']).status === 0)
    return Peer.start(python, join(__dirname, '..', '..', 'bench/peers/torch_kernels.py'), device, dtype, String(repeats));
  console.log(`${python} has no PyTorch: nothing to compare with`);
  return null;
}

/** TFLOP/s of what multiplies, GB/s of what moves. */
function rate({ flops, bytes }: { flops: number; bytes: number }, seconds: number): string {
  return flops > 0 ? `${(flops / seconds / 1e12).toFixed(2)} TFLOP/s` : `${(bytes / seconds / 1e9).toFixed(1)} GB/s`;
}

async function main(): Promise<void> {
  const about = machine(options.device);
  const device = await openDevice(options.device);
  const peer = await startPeer();
  const results: Record<string, unknown>[] = [];
  for (const spec of specsOf(network, Number(options.batch)).filter((one) => nameOf(one).includes(options.only))) {
    const work = workOf(spec, dtype);
    const seconds: Record<'ours' | 'torch', number[]> = { ours: [], torch: [] };
    for (let round = 0; round < Number(options.rounds); round++) {
      const prepared = prepare(device, spec, dtype);
      seconds.ours.push(await time(device, prepared.run));
      prepared.dispose();
      if (peer) seconds.torch.push(...(await peer.ask(JSON.stringify({ ...spec, milliseconds, batches }))));
    }
    const ours = spread(seconds.ours);
    const torch: Spread | null = peer && spread(seconds.torch);
    const compared = torch
      ? `  torch ${(torch.median * 1e3).toFixed(4)} ms, ours ${(torch.median / ours.median).toFixed(2)}× as fast`
      : '';
    console.log(
      `${nameOf(spec).padEnd(52)} ${(ours.median * 1e3).toFixed(4).padStart(10)} ms  ${rate(work, ours.median)}${compared}`,
    );
    results.push({ name: nameOf(spec), ...work, ours, ...(torch && { torch }) });
  }
  const report = {
    benchmark: options.quick ? 'kernels quick' : 'kernels',
    ...about,
    dtype,
    network,
    torch: peer?.about,
    results,
  };
  if (options.device.startsWith('cuda')) Object.assign(report, { gpuAfter: gpu(options.device) });
  if (options.json) writeFileSync(options.json, `${JSON.stringify(report, null, 2)}\n`);
  peer?.stop();
  await device.close();
}

void main();
