// This engine's side of the UNet benchmark, driven over standard input like torch_unet.py: "forward 3", "step 3" or "sampling 3"
// answers with the seconds of one run (of one evaluation when sampling), "memory" with the peak bytes: resident on the CPU, the
// device's own otherwise, "check" with the relative errors of prediction and gradients.
import { createInterface } from 'node:readline';
import {
  GaussianDiffusion,
  ImageDataset,
  NoiseSchedule,
  openDevice,
  type Program,
  Sampler,
  Trainer,
  UNet,
} from 'diffusion-native';
import type { PeerOptions } from './peer.js';
import { checkOurs, unetOptions } from './reference.js';

async function main(): Promise<void> {
  const options = JSON.parse(process.argv[2] as string) as PeerOptions;
  const { batch, threads, device: id, dtype, network, evaluations } = options;
  const { size } = network;
  const device = await openDevice(id, { threads });
  const model = new UNet(device, { ...unetOptions(options), dtype });
  const diffusion = new GaussianDiffusion(device, NoiseSchedule.linear());
  const pixels = Uint8Array.from({ length: batch * size * size * 3 }, () => Math.floor(Math.random() * 256));
  // Each is made with its first run, so that a job alone is charged for what it needs.
  let forward: Program<void> | undefined;
  let trainer: Trainer | undefined;
  let sampler: Sampler | undefined;

  const jobs: Record<string, (count: number) => Promise<void>> = {
    async forward(count) {
      if (!forward) {
        const x = device.randn([batch, size, size, 3], { seed: 1 });
        const t = device.tensor(
          Int32Array.from({ length: batch }, () => Math.floor(Math.random() * 1000)),
          [batch],
        );
        forward = device.record(() => device.scope(() => void model.forward(x, t)));
      }
      for (let i = 0; i < count; i++) forward.run();
      await device.synchronize();
    },
    async step(count) {
      trainer ??= new Trainer({
        model,
        diffusion,
        data: ImageDataset.tensor(pixels, [batch, size, size, 3]),
        batchSize: batch,
      });
      for await (const _ of trainer.run({ steps: count }));
    },
    async sampling(count) {
      sampler ??= new Sampler(diffusion, model, { steps: evaluations });
      for (let seed = 0; seed < count; seed++) (await sampler.sample({ count: batch, seed })).dispose();
      await device.synchronize();
    },
  };

  let parameters = 0;
  for (const { shape } of model.parameters().values()) parameters += shape.reduce((a, b) => a * b, 1);
  console.log(`ready ${device.info.isa ?? device.info.name} ${parameters}`);
  for await (const line of createInterface({ input: process.stdin })) {
    if (line === 'memory') {
      console.log(id === 'cpu' ? process.resourceUsage().maxRSS * 1024 : device.memory().peakBytes);
      continue;
    }
    if (line === 'check') {
      console.log((await checkOurs(device, options)).join(' '));
      continue;
    }
    const [job = '', count] = line.split(' ');
    const start = performance.now();
    await jobs[job]?.(Number(count));
    console.log((performance.now() - start) / 1000 / Number(count) / (job === 'sampling' ? evaluations : 1));
  }
  await device.close();
}

void main();
