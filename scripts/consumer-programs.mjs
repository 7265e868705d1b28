/** What scripts/check-consumer.mjs runs in a project: three training steps, then their losses and the libraries in use. */
export function program(moduleSystem) {
  const names = 'GaussianDiffusion, ImageDataset, NoiseSchedule, openDevice, Trainer, UNet';
  const load = {
    require: `const { ${names} } = require('diffusion-native');\nconst { readFileSync } = require('node:fs');`,
    import: `import { ${names} } from 'diffusion-native';\nimport { readFileSync } from 'node:fs';`,
  };
  return `${load[moduleSystem]}

function* pictures() {
  for (let n = 0; n < 100; n++) yield { image: Uint8Array.from({ length: 8 * 8 * 3 }, (_, i) => (i * 37 + n * 11) & 255) };
}

async function main() {
  const device = await openDevice('cpu');
  const model = new UNet(device, {
    imageSize: 8, baseChannels: 16, channelMults: [1, 2], resBlocks: 1, attentionResolutions: [4], groups: 8,
  });
  const diffusion = new GaussianDiffusion(device, NoiseSchedule.cosine());
  const data = ImageDataset.from(pictures, { size: [8, 8, 3] });
  const trainer = new Trainer({ model, diffusion, data, batchSize: 2, learningRate: 1e-3 });
  const losses = [];
  for await (const { loss } of trainer.run({ steps: 3 })) losses.push(loss);
  const mapped = readFileSync('/proc/self/maps', 'utf8').match(/\\/\\S*(diffusion_|libdnnl|libgomp|libOpenCL)\\S*/g);
  console.log(JSON.stringify({ losses, loaded: [...new Set(mapped)] }));
  await device.close();
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
`;
}

/** A program that TypeScript must accept, and whose one wrong option it must refuse. */
export const typedProgram = `
import { type Device, GaussianDiffusion, ImageDataset, NoiseSchedule, openDevice, Sampler, Trainer, UNet } from 'diffusion-native';

export async function train(folder: string): Promise<number> {
  const device: Device = await openDevice('auto');
  const model = new UNet(device, { imageSize: 16, baseChannels: 32 });
  const diffusion = new GaussianDiffusion(device, NoiseSchedule.cosine(), { prediction: 'v' });
  const data = await ImageDataset.folder(folder, { size: 16 });
  const trainer = new Trainer({ model, diffusion, data, batchSize: 4, learningRate: 2e-4 });
  let last = 0;
  for await (const { loss } of trainer.run({ steps: 3 })) last = loss;
  const images = await new Sampler(diffusion, trainer.ema, { method: 'ddim', steps: 5 }).sample({ count: 1 });
  await images.savePng('one.png', { columns: 1 });
  // @ts-expect-error an option that does not exist
  NoiseSchedule.linear({ timestep: 10 });
  return last;
}
`;
