// onnxruntime-node's side of the UNet benchmark, driven over standard input: "forward 3" answers with the seconds of one run,
// "memory" with the peak resident bytes, "check" with the prediction's relative error. It is no dependency:
// npm install --no-save onnxruntime-node --ignore-scripts
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { PeerOptions } from './peer.js';

/** What of onnxruntime-common is used here. */
interface Runtime {
  env: { versions: { node?: string; common: string } };
  InferenceSession: {
    create(path: string, options: object): Promise<{ run(feeds: Record<string, unknown>): Promise<Record<string, Output>> }>;
  };
  Tensor: new (type: string, data: Float32Array | BigInt64Array, shape: readonly number[]) => unknown;
}
interface Output {
  data: Float32Array;
}

function read(folder: string, name: string): ArrayBuffer {
  return Uint8Array.from(readFileSync(join(folder, name))).buffer;
}

/** Between NHWC and NCHW: [n, a, b] → [n, b, a]. */
function swapped(values: Float32Array, n: number, a: number, b: number): Float32Array {
  const result = new Float32Array(values.length);
  for (let s = 0; s < n; s++)
    for (let i = 0; i < a; i++) for (let j = 0; j < b; j++) result[(s * b + j) * a + i] = values[(s * a + i) * b + j] as number;
  return result;
}

function relative(a: Float32Array, b: Float32Array): number {
  const sum = (term: (i: number) => number) => b.reduce((total, _, i) => total + term(i), 0);
  return Math.sqrt(sum((i) => ((a[i] as number) - (b[i] as number)) ** 2) / sum((i) => (b[i] as number) ** 2));
}

async function main(): Promise<void> {
  const { batch, threads, network, reference } = JSON.parse(process.argv[2] as string) as PeerOptions;
  const runtime = require('onnxruntime-node') as Runtime;
  const { size } = network;
  const session = await runtime.InferenceSession.create(join(reference, 'unet.onnx'), {
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    graphOptimizationLevel: 'all',
  });
  const run = async (x: Float32Array, steps: readonly number[]) => {
    const feeds = {
      sample: new runtime.Tensor('float32', x, [steps.length, 3, size, size]),
      timestep: new runtime.Tensor('int64', BigInt64Array.from(steps, BigInt), [steps.length]),
    };
    return ((await session.run(feeds)).out_sample as Output).data;
  };
  const x = Float32Array.from({ length: batch * 3 * size * size }, () => 2 * Math.random() - 1);
  const t = Array.from({ length: batch }, () => Math.floor(Math.random() * 1000));

  console.log(`ready onnxruntime-node ${runtime.env.versions.node ?? runtime.env.versions.common}`);
  for await (const line of createInterface({ input: process.stdin })) {
    const [job, count] = line.split(' ');
    if (job === 'memory') console.log(process.resourceUsage().maxRSS * 1024);
    else if (job === 'check') {
      const steps = [...new Int32Array(read(reference, 'steps.i32'))];
      const input = swapped(new Float32Array(read(reference, 'input.f32')), steps.length, size * size, 3);
      const output = swapped(await run(input, steps), steps.length, 3, size * size);
      console.log(relative(output, new Float32Array(read(reference, 'prediction.f32'))));
    } else {
      const start = performance.now();
      for (let i = 0; i < Number(count); i++) await run(x, t);
      console.log((performance.now() - start) / 1000 / Number(count));
    }
  }
}

void main();
