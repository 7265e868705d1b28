// This engine's side of a whole network, driven over standard input like torch_unet.py: a job (bench/peers/jobs.ts) and a count
// answers with the seconds of one run, "memory" with the peak bytes: resident on the CPU, the device's own otherwise, "work step" with
// FLOPs, bytes and floor of one run, "check step" with the relative errors.
import { createInterface } from 'node:readline';
import {
  AdamW,
  backward,
  type Device,
  ImageDataset,
  mean,
  openDevice,
  type Program,
  type Sampler,
  Trainer,
  UNet,
} from 'diffusion-native';
import { floorOf, workOf } from '../floor.js';
import { imageShape, type Job, samplingOf } from './jobs.js';
import { peakResidentBytes } from './memory.js';
import type { PeerOptions } from './peer.js';
import { checkOurs, processOf, samplerOf } from './reference.js';

/** Gives the network of the reference, read with its first use. */
type Load = () => Promise<UNet>;

/** Makes one run of a job ready, with all that it needs and no more, so that it alone is charged for its memory. */
async function prepare(device: Device, job: Job, options: PeerOptions, load: Load): Promise<(count: number) => Promise<void>> {
  const { batch, network } = options;
  if (job === 'step') {
    const trainer = makeTrainer(device, options);
    return async (count) => {
      for await (const _ of trainer.run({ steps: count }));
    };
  }
  const model = await load();
  if (job === 'forward') {
    const program = recordForward(model, batch, options);
    return async (count) => {
      for (let i = 0; i < count; i++) program.run();
      await device.synchronize();
    };
  }
  const sampler: Sampler = samplerOf(model, network, job);
  return async (count) => {
    for (let seed = 0; seed < count; seed++) {
      using images = await sampler.sample({ count: batch, seed });
      await images.read();
    }
  };
}

function makeTrainer(device: Device, { batch, dtype, network }: PeerOptions): Trainer {
  const shape = [batch, ...imageShape(network)] as const;
  const pixels = Uint8Array.from({ length: shape.reduce((a, b) => a * b) }, () => Math.floor(Math.random() * 256));
  return new Trainer({
    model: new UNet(device, { ...network.unet, dtype }),
    diffusion: processOf(device, network),
    data: ImageDataset.tensor(pixels, shape),
    batchSize: batch,
  });
}

function recordForward(model: UNet, batch: number, { network }: PeerOptions): Program<void> {
  const { device } = model;
  const x = device.randn([batch, ...imageShape(network)], { seed: 1 });
  const steps = Int32Array.from({ length: batch }, () => Math.floor(Math.random() * 1000));
  const t = device.tensor(steps, [batch]);
  return device.record(() => device.scope(() => void model.forward(x, t)));
}

/** The operations of one run: FLOPs, bytes, and the seconds below which it cannot end. */
function workOfJob(device: Device, job: Job, { batch, dtype, network, ceilings }: PeerOptions): number[] {
  const model = new UNet(device, { ...network.unet, dtype });
  const diffusion = processOf(device, network);
  const shape = [batch, ...imageShape(network)] as const;
  const t = device.zeros([batch], { dtype: 'i32' });
  const optimizer = job === 'step' ? new AdamW(model.parameters(), { emaDecay: 0.9999, gradientClip: 1 }) : null;
  const x = job === 'step' ? device.zeros(shape, { dtype: 'u8' }) : device.zeros(shape);
  const program = device.record(() =>
    device.scope(() => {
      if (optimizer) {
        optimizer.zeroGrad();
        backward(mean(diffusion.trainingLosses(model, x, t, { flip: true }).loss));
        optimizer.enqueue();
      } else if (job === 'forward') model.forward(x, t);
      else diffusion.pSample(model.forward(x, t), x, t);
    }),
  );
  const { flops, bytes } = workOf(program.commands);
  const runs = samplingOf(job)?.evaluations ?? 1;
  return [flops, bytes, floorOf(program.commands, ceilings)].map((one) => one * runs);
}

async function main(): Promise<void> {
  const options = JSON.parse(process.argv[2] as string) as PeerOptions;
  const device = await openDevice(options.device, { threads: options.threads });
  const made = new Map<string, (count: number) => Promise<void>>();
  let loaded: Promise<UNet> | undefined;
  const load: Load = () => {
    loaded ??= UNet.load(device, options.reference, { dtype: options.dtype });
    return loaded;
  };
  console.log(`diffusion-native, ${device.info.isa ?? device.info.name}`);
  for await (const line of createInterface({ input: process.stdin })) {
    const [what = '', argument = ''] = line.split(' ');
    if (what === 'memory') console.log(options.device === 'cpu' ? peakResidentBytes() : device.memory().peakBytes);
    else if (what === 'work') console.log(workOfJob(device, argument as Job, options).join(' '));
    else if (what === 'check') console.log((await checkOurs(device, argument as Job, options)).join(' '));
    else {
      const run = made.get(what) ?? (await prepare(device, what as Job, options, load));
      made.set(what, run);
      const start = performance.now();
      await run(Number(argument));
      console.log((performance.now() - start) / 1000 / Number(argument));
    }
  }
  await device.close();
}

void main();
