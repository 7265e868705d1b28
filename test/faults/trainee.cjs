// node trainee.cjs <folder> <last step> <steps between checkpoints>: trains the tiny model, from the newest checkpoint where there is
// one. Prints a line of JSON for where it begins and for each step, at once, so that a killed process has said what it did.
const { existsSync, readdirSync, writeSync } = require('node:fs');
const { createHash } = require('node:crypto');
const { GaussianDiffusion, ImageDataset, NoiseSchedule, openDevice, Trainer, UNet } = require('../../dist/index.js');

const [folder, last, every] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
const say = (what) => writeSync(1, `${JSON.stringify(what)}\n`);
const waves = Uint8Array.from({ length: 7 * 8 * 8 * 3 }, (_, i) => 128 + 100 * Math.sin(i * 0.13 * (1 + (i >> 8))));
const data = ImageDataset.tensor(waves, [7, 8, 8, 3]);

(async () => {
  const device = await openDevice('cpu', { threads: 1 });
  const begun = existsSync(folder) && readdirSync(folder).some((name) => /^checkpoint-\d+$/.test(name));
  const fresh = () =>
    new Trainer({
      model: new UNet(device, {
        imageSize: 8, baseChannels: 8, channelMults: [1], resBlocks: 1, attentionResolutions: [], dropout: 0.1, seed: 1,
      }),
      diffusion: new GaussianDiffusion(device, NoiseSchedule.linear({ timesteps: 50 })),
      data, batchSize: 2, learningRate: 1e-3, flip: true, seed: 5, directory: folder, checkpointEvery: every, totalSteps: last,
    });
  const trainer = begun ? await Trainer.resume(folder, { device, data }) : fresh();
  say({ begin: trainer.step });
  for await (const { step, loss, gradientNorm } of trainer.run({ steps: last - trainer.step })) {
    say({ step, loss, gradientNorm });
    if (step % 100 === 0) global.gc?.();
    if (step % 100 === 0) say({ at: step, rss: process.memoryUsage().rss });
  }
  const values = await trainer.ema.store.flatValues.read();
  say({ end: createHash('sha256').update(values).digest('hex') });
  await device.close();
})();
