// What the JavaScript thread pays: enqueuing an operation, and replaying a recorded training step.
import { AdamW, backward, type Device, mean, ops } from 'diffusion-native';
import type { Overhead } from '../result.js';
import { type Spread, spread } from '../statistics.js';
import type { SuiteContext } from '../suite.js';
import { smallModel, smallSize } from './smallModel.js';

type Pace = Pick<SuiteContext, 'quick' | 'signal' | 'device'>;

/** Calls that are timed: fewer when it should be quick, few where each one is emulated. */
const callsOf = (count: number, { quick, device }: Pace) =>
  device.startsWith('emulator') ? count / 100 : quick ? count / 5 : count;

/** Microseconds of each call of `body`; the queue is emptied now and then, outside the measurement. */
async function microseconds(device: Device, calls: number, { signal }: Pace, body: () => void): Promise<Spread> {
  const samples: number[] = [];
  for (let i = 0; i < calls; i++) {
    const start = performance.now();
    body();
    samples.push((performance.now() - start) * 1e3);
    if (i % 500 === 499) await device.synchronize();
    if (i % 500 === 499) signal.throwIfAborted();
  }
  await device.synchronize();
  return spread(samples.slice(calls / 4));
}

/** Three operations, from a call to the handle of the result. */
export async function enqueueing(device: Device, pace: Pace): Promise<Overhead[]> {
  const x = device.randn([4, 8, 8, 16], { seed: 1 });
  const gamma = device.full([16], 1);
  const weight = device.randn([3, 3, 16, 16], { seed: 2 });
  const bodies: Record<string, () => void> = {
    silu: () => ops.silu(x).dispose(),
    groupNorm: () => ops.groupNorm(x, gamma, gamma, { groups: 4, silu: true }).dispose(),
    conv2d: () => ops.conv2d(x, weight, { padding: 1 }).dispose(),
  };
  const found: Overhead[] = [];
  for (const [name, body] of Object.entries(bodies))
    found.push({ name: `enqueuing ${name}`, unit: 'µs', value: await microseconds(device, callsOf(10_000, pace), pace, body) });
  for (const one of [x, gamma, weight]) one.dispose();
  return found;
}

/** A recorded training step (noising to optimiser) and what is written before each run of it: images, seed state, learning rate. */
export async function replaying(device: Device, pace: Pace): Promise<Overhead[]> {
  const batch = 32;
  const { model, diffusion } = smallModel(device);
  const optimizer = new AdamW(model.parameters(), { learningRate: 2e-4, gradientClip: 1, emaDecay: 0.999 });
  const shape = [batch, smallSize, smallSize, 3];
  const pixels = Uint8Array.from({ length: batch * smallSize * smallSize * 3 }, (_, i) => (i * 31) & 255);
  const images = device.tensor(pixels, shape);
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
  for (let i = 1; i <= callsOf(200, pace); i++) {
    pace.signal.throwIfAborted();
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
  for (const one of [step, optimizer, model, images, seed]) one.dispose();
  return [
    { name: 'writing the inputs of a step', unit: 'µs', value: spread(samples.inputs) },
    { name: 'replaying the step', unit: 'µs', value: spread(samples.run) },
  ];
}
