// What the JavaScript thread pays: enqueuing an operation, and replaying a recorded training step.
//   node dist/bench/overhead.js [--device cpu] [--quick] [--json file]
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { AdamW, backward, type Device, GaussianDiffusion, mean, NoiseSchedule, openDevice, ops, UNet } from 'diffusion-native';
import { machine } from './machine.js';
import { type Spread, spread } from './statistics.js';

const { values: options } = parseArgs({
  options: { device: { type: 'string', default: 'cpu' }, quick: { type: 'boolean', default: false }, json: { type: 'string' } },
});
/** Calls that are timed; a hundredth of them when it should be quick. */
const calls = (count: number) => (options.quick ? count / 100 : count);

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
    'enqueuing silu': await microseconds(device, calls(20_000), () => ops.silu(x).dispose()),
    'enqueuing groupNorm': await microseconds(device, calls(10_000), () =>
      ops.groupNorm(x, gamma, gamma, { groups: 4, silu: true }).dispose(),
    ),
    'enqueuing conv2d': await microseconds(device, calls(10_000), () => ops.conv2d(x, weight, { padding: 1 }).dispose()),
  };
}

/** A recorded training step (noising to optimiser) and what is written before each run of it: images, seed state, learning rate. */
async function replay(device: Device): Promise<Record<string, Spread>> {
  const [batch, size] = [32, 16];
  const model = new UNet(device, {
    imageSize: size,
    baseChannels: 32,
    channelMults: [1, 2, 2],
    resBlocks: 1,
    attentionResolutions: [4],
  });
  const diffusion = new GaussianDiffusion(device, NoiseSchedule.cosine());
  const optimizer = new AdamW(model.parameters(), { learningRate: 2e-4, gradientClip: 1, emaDecay: 0.999 });
  const pixels = new Uint8Array(batch * size * size * 3);
  const images = device.tensor(pixels, [batch, size, size, 3]);
  const t = Int32Array.from({ length: batch }, (_, i) => i * 30);
  const seed = device.tensor(Int32Array.of(1, 0, 0, 0), [4]);
  optimizer.prepare();
  const step = device.record(() =>
    device.scope(() => {
      optimizer.zeroGrad();
      backward(mean(diffusion.trainingLosses(model, images, t, { seed, flip: true }).loss));
      optimizer.enqueue();
    }),
  );
  await device.synchronize();
  const samples: Record<'inputs' | 'run', number[]> = { inputs: [], run: [] };
  for (let i = 1; i <= calls(200); i++) {
    const start = performance.now();
    images.write(pixels);
    seed.write(Int32Array.of(1, 0, i, 0));
    optimizer.prepare({ learningRate: 1e-4 });
    const written = performance.now();
    step.run();
    samples.run.push((performance.now() - written) * 1e3);
    samples.inputs.push((written - start) * 1e3);
    await device.synchronize();
  }
  return { 'writing the inputs of a step': spread(samples.inputs), 'replaying the step': spread(samples.run) };
}

async function main(): Promise<void> {
  const device = await openDevice(options.device);
  const result = {
    benchmark: options.quick ? 'overhead quick' : 'overhead',
    ...machine(options.device),
    microseconds: { ...(await enqueue(device)), ...(await replay(device)) },
  };
  for (const [name, { median, p10, p90 }] of Object.entries(result.microseconds))
    console.log(`${name.padEnd(28)} ${median.toFixed(2)} µs  (${p10.toFixed(2)} to ${p90.toFixed(2)})`);
  if (options.json) writeFileSync(options.json, `${JSON.stringify(result, null, 2)}\n`);
  await device.close();
}

void main();
