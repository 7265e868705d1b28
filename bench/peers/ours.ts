// This engine's side of the UNet benchmark, driven over standard input like torch_unet.py: "forward" or "step" answers with
// seconds, "memory" with the peak resident bytes of this process.
import { createInterface } from 'node:readline';
import { GaussianDiffusion, ImageDataset, NoiseSchedule, openDevice, Trainer, UNet } from 'diffusion-native';

async function main(): Promise<void> {
  const [batch = 4, threads = 2] = process.argv.slice(2).map(Number);
  const device = await openDevice('cpu', { threads });
  const model = new UNet(device, {
    imageSize: 32,
    baseChannels: 128,
    channelMults: [1, 2, 2, 2],
    resBlocks: 2,
    attentionResolutions: [16],
    dropout: 0.1,
  });
  const pixels = Uint8Array.from({ length: batch * 32 * 32 * 3 }, () => Math.floor(Math.random() * 256));
  const x = device.randn([batch, 32, 32, 3], { seed: 1 });
  let trainer: Trainer | undefined; // made with the first step, so that forward alone is charged for the weights alone

  const jobs: Record<string, () => Promise<void>> = {
    async forward() {
      const t = Int32Array.from({ length: batch }, () => Math.floor(Math.random() * 1000));
      model.forward(x, t).dispose();
      await device.synchronize();
    },
    async step() {
      trainer ??= new Trainer({
        model,
        diffusion: new GaussianDiffusion(device, NoiseSchedule.linear()),
        data: ImageDataset.tensor(pixels, [batch, 32, 32, 3]),
        batchSize: batch,
      });
      for await (const _ of trainer.run({ steps: 1 }));
    },
  };

  let parameters = 0;
  for (const { shape } of model.parameters().values()) parameters += shape.reduce((a, b) => a * b, 1);
  console.log(`ready ${device.info.isa} ${parameters}`);
  for await (const line of createInterface({ input: process.stdin })) {
    if (line === 'memory') console.log(process.resourceUsage().maxRSS * 1024);
    else {
      const start = performance.now();
      await jobs[line]?.();
      console.log((performance.now() - start) / 1000);
    }
  }
  await device.close();
}

void main();
