import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { openDevice } from '../../lib/index.js';
import { silu } from '../../lib/ops/elementwise.js';
import { temporaryFolder } from '../support/temporaryFolder.js';
import { note, randomNumbers, times } from './long.js';

// The long form: 200 of each. Here: 20.
const rounds = times(20, 200);
const library = JSON.stringify(join(__dirname, '..', '..', 'dist', 'index.js'));
const root = temporaryFolder();

/** What keeps a device busy, each in its own way, for ever; `say` tells that it has begun, `folder` is its own. */
const loads = {
  operations: `
    const x = device.randn([300_000], { seed: 1 });
    say();
    for (;;) { for (let i = 0; i < 50; i++) ops.silu(x).dispose(); await device.synchronize(); }`,
  reads: `
    const x = device.randn([100_000], { seed: 1 });
    say();
    for (;;) await Promise.all(Array.from({ length: 20 }, () => { const y = ops.silu(x); const read = y.read(); y.dispose(); return read; }));`,
  programs: `
    const x = device.full([50_000], 1);
    const program = device.record(() => device.scope(() => ops.silu(ops.add(x, x))));
    say();
    for (;;) { for (let i = 0; i < 20; i++) program.run(); await program.result.read(); x.write(new Float32Array(50_000)); }`,
  devices: `
    say();
    for (;;) { const other = await openDevice('cpu', { threads: 1 }); const y = ops.silu(other.full([1000], 1)); y.read().catch(() => {}); await other.close(); }`,
  training: `
    const data = ImageDataset.tensor(new Uint8Array(7 * 192).fill(90), [7, 8, 8, 3]);
    const model = new UNet(device, { imageSize: 8, baseChannels: 8, channelMults: [1], resBlocks: 1, attentionResolutions: [] });
    const diffusion = new GaussianDiffusion(device, NoiseSchedule.linear({ timesteps: 50 }));
    const trainer = new Trainer({ model, diffusion, data, batchSize: 4, directory: folder, checkpointEvery: 2 });
    for await (const { step } of trainer.run({ steps: 1e6 })) if (step === 1) say();`,
};

const program = (load: string, say: string, folder: string) => `
  const { GaussianDiffusion, ImageDataset, NoiseSchedule, openDevice, ops, Trainer, UNet } = require(${library});
  const [say, folder] = [() => ${say}, ${JSON.stringify(folder)}];
  (async () => { const device = await openDevice('cpu', { threads: 2 }); ${load} })();`;

const kinds = Object.entries(loads);
const kindOf = (round: number) => kinds[round % kinds.length] as [string, string];

/** The result, or an error when it takes longer than a process under load may need. */
function soon<T>(promise: Promise<T>, what: string): Promise<T> {
  const late = sleep(20_000, undefined, { ref: false }).then(() => {
    throw new Error(`${what}: nothing after 20 s`);
  });
  return Promise.race([promise, late]);
}

test(`terminate() of a worker under load, ${rounds} times, while this thread computes`, async () => {
  const random = randomNumbers(1);
  const device = await openDevice('cpu');
  const x = device.full([1000], 0.5);
  const expected = await silu(x).read();
  for (let round = 0; round < rounds; round++) {
    const [name, load] = kindOf(round);
    const worker = new Worker(
      program(load, "require('node:worker_threads').parentPort.postMessage('')", join(root, `w${round}`)),
      {
        eval: true,
      },
    );
    const failure = new Promise((_, reject) => worker.once('error', reject));
    await soon(Promise.race([new Promise((resolve) => worker.once('message', resolve)), failure]), name);
    const y = silu(x);
    const reading = y.read();
    await sleep(random() * 60);
    expect(await soon(worker.terminate(), `terminate() of ${name}`)).toBe(1);
    expect(await reading).toEqual(expected);
    y.dispose();
  }
  expect(await soon(silu(x).read(), 'the device of this thread')).toEqual(expected);
  await device.close();
  note({ rounds });
}, 1_200_000);

test(`process.exit() under load, ${rounds} times`, async () => {
  const random = randomNumbers(2);
  for (let round = 0; round < rounds; round++) {
    const [name, load] = kindOf(round);
    const folder = join(root, `p${round}`);
    const say = `setTimeout(() => process.exit(${(round % 100) + 3}), ${Math.floor(random() * 60)})`;
    const child = spawn(process.execPath, ['-e', program(load, say, folder)]);
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (text) => {
        output += text;
      });
    const ended = new Promise((resolve) => child.once('close', (code, signal) => resolve(signal ?? code)));
    expect(await soon(ended, `process.exit() of ${name}`), `${name}: ${output}`).toBe((round % 100) + 3);
    expect(output, name).toBe('');
    if (name === 'training') for (const entry of readdirSync(folder)) expect(entry).toMatch(/^(\.?checkpoint-|\.?latest)/);
  }
  note({ rounds });
}, 1_200_000);
