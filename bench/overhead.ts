// What the JavaScript thread pays: enqueuing an operation, and replaying a recorded training step.
//   node out/bench/overhead.js [--json file]
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { type Device, GaussianDiffusion, ImageDataset, NoiseSchedule, openDevice, ops, Trainer, UNet } from 'diffusion-native';
import { machine } from './machine.js';
import { type Spread, spread } from './statistics.js';

const { values: options } = parseArgs({ options: { json: { type: 'string' } } });

/** Microseconds of each call of `body`; the queue is emptied now and then, outside the measurement. */
async function microseconds(device: Device, calls: number, body: () => void): Promise<Spread> {
  const samples: number[] = [];
  for (let i = 0; i < calls; i++) {
    const start = performance.now();
    body();
    samples.push((performance.now() - start) * 1e3);
    if (i % 500 === 499) await device.synchronize();
  }
  await device.synchronize();
  return spread(samples.slice(calls / 4));
}

async function enqueue(device: Device): Promise<Record<string, Spread>> {
  const x = device.zeros([4, 8, 8, 16]);
  const gamma = device.full([16], 1);
  const weight = device.zeros([3, 3, 16, 16]);
  return {
    silu: await microseconds(device, 20_000, () => ops.silu(x).dispose()),
    groupNorm: await microseconds(device, 10_000, () => ops.groupNorm(x, gamma, gamma, { groups: 4, silu: true }).dispose()),
    conv2d: await microseconds(device, 10_000, () => ops.conv2d(x, weight, { padding: 1 }).dispose()),
  };
}

/** JavaScript time between the resolution of one step and the next await, by running the trainer step by step. */
async function replay(device: Device): Promise<Spread> {
  const model = new UNet(device, { imageSize: 16, baseChannels: 32, channelMults: [1, 2, 2], resBlocks: 1, attentionResolutions: [4] });
  const data = ImageDataset.tensor(new Uint8Array(64 * 16 * 16 * 3), [64, 16, 16, 3]);
  const trainer = new Trainer({ model, diffusion: new GaussianDiffusion(device, NoiseSchedule.cosine()), data, batchSize: 4 });
  for await (const _ of trainer.run({ steps: 3 }));
  const native = device.native;
  const samples: number[] = [];
  const step = device.record(() => {
    const t = device.tensor(Int32Array.of(1, 2, 3, 4), [4]);
    const y = model.forward(device.randn([4, 16, 16, 3]), t, { train: true, seed: 1 });
    return ops.mean(y);
  });
  void native;
  for (let i = 0; i < 200; i++) {
    const start = performance.now();
    step.run();
    samples.push((performance.now() - start) * 1e3);
    await device.synchronize();
  }
  return spread(samples);
}

async function main(): Promise<void> {
  const device = await openDevice('cpu');
  const result = { benchmark: 'overhead', ...machine(), microseconds: { ...(await enqueue(device)), replay: await replay(device) } };
  for (const [name, { median, p10, p90 }] of Object.entries(result.microseconds))
    console.log(`${name.padEnd(12)} ${median.toFixed(2)} µs  (${p10.toFixed(2)} to ${p90.toFixed(2)})`);
  if (options.json) writeFileSync(options.json, `${JSON.stringify(result, null, 2)}\n`);
  await device.close();
}

void main();
