// Trains a small model on 168 smileys and draws 32 new ones, from their noise.
//   npm run demo [-- --device cuda --dtype bf16 --steps 200]
// DIFFUSION_DEVICE is the default of --device. With --losses <file> the loss of every step is written as JSON.
import { writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import cliProgress from 'cli-progress';
import {
  GaussianDiffusion,
  ImageDataset,
  NoiseSchedule,
  openDevice,
  Sampler,
  savePipeline,
  Trainer,
  UNet,
} from 'diffusion-native';

const { values } = parseArgs({
  options: {
    device: { type: 'string', default: process.env.DIFFUSION_DEVICE || 'auto' },
    dtype: { type: 'string', default: 'f32' },
    steps: { type: 'string', default: '1400' },
    losses: { type: 'string' },
  },
});
const steps = Number(values.steps);
const folder = 'demo-output';
const began = performance.now();
const seconds = () => `${((performance.now() - began) / 1000).toFixed(0)} s`;

/** A bar on a terminal; elsewhere ten lines. */
function progressBar(title, total) {
  if (!process.stderr.isTTY) {
    const tell = (done, details) =>
      done % Math.ceil(total / 10) === 0 && console.log(`${title} ${done}/${total}  ${details}`.trimEnd());
    return { update: tell, stop() {} };
  }
  const bar = new cliProgress.SingleBar(
    { format: `${title} {bar} {value}/{total}  {details}  {eta_formatted} left`, hideCursor: true },
    cliProgress.Presets.shades_classic,
  );
  bar.start(total, 0, { details: '' });
  return { update: (done, details) => bar.update(done, { details }), stop: () => bar.stop() };
}

const device = await openDevice(values.device);
const icons = fileURLToPath(import.meta.resolve('@iconify-json/fluent-emoji-flat/icons.json'));
const data = await ImageDataset.icons(icons, { size: 16, categories: ['smileys'] });
console.log(`${data.length} smileys of ${data.height}×${data.width} pixels, on ${device.info.name} (${device.info.id})`);

const model = new UNet(device, {
  imageSize: 16,
  baseChannels: 32,
  channelMults: [1, 2, 2],
  resBlocks: 1,
  attentionResolutions: [4],
  timeEmbedding: 'scaleShift',
  groups: 8,
  dtype: values.dtype,
});
const diffusion = new GaussianDiffusion(device, NoiseSchedule.cosine(), { prediction: 'v' });
const trainer = new Trainer({
  model,
  diffusion,
  data,
  batchSize: 32,
  learningRate: 2e-3,
  warmupSteps: 100,
  learningRateSchedule: 'cosine',
  emaDecay: 0.998,
  flip: true,
});

const training = progressBar('train ', steps);
let loss;
const losses = [];
for await (const progress of trainer.run({ steps })) {
  losses.push(progress.loss);
  loss = loss === undefined ? progress.loss : 0.98 * loss + 0.02 * progress.loss;
  training.update(progress.step, `loss ${loss.toFixed(4)}  ${progress.imagesPerSecond.toFixed(0)} images/s`);
}
training.stop();
if (values.losses) await writeFile(values.losses, `${JSON.stringify(losses)}\n`);
await savePipeline(`${folder}/model`, { model: trainer.ema, diffusion });

// The averaged weights draw all samples together; x is seen at some moments on its way from noise to picture.
const sampler = new Sampler(diffusion, trainer.ema, { method: 'ddpm', steps: 100 });
const count = 32;
const moments = [1, 20, 40, 55, 65, 75, 85, 93, 100];
const shown = 4;
const frames = [];
const sampling = progressBar('sample', 100);
for await (const { step, total, x } of sampler.steps({ count, seed: 1 })) {
  sampling.update(step, '');
  if (moments.includes(step)) frames.push(await x.read());
  if (step === total) await x.savePng(`${folder}/grid.png`, { columns: 8, scale: 8 });
}
sampling.stop();

// Rows are samples, columns moments.
const size = frames[0].length / count;
const strip = new Float32Array(shown * frames.length * size);
for (let sample = 0; sample < shown; sample++)
  for (const [moment, frame] of frames.entries())
    strip.set(frame.subarray(sample * size, (sample + 1) * size), (sample * frames.length + moment) * size);
const stripTensor = device.tensor(strip, [shown * frames.length, ...data.shape]);
await stripTensor.savePng(`${folder}/denoising.png`, { columns: frames.length, scale: 8 });

console.log(`new smileys:        ${folder}/grid.png`);
console.log(`from noise to them: ${folder}/denoising.png`);
console.log(`the model:          ${folder}/model (diffusers reads it too)`);
console.log(`all in ${seconds()}`);
await device.close();
