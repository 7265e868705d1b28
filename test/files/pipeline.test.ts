import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { GaussianDiffusion } from '../../lib/diffusion/gaussian.js';
import { NoiseSchedule } from '../../lib/diffusion/schedule.js';
import { FileFormatError, OptionError } from '../../lib/errors.js';
import { loadPipeline, savePipeline } from '../../lib/files/pipeline.js';
import { processOf, schedulerConfigOf } from '../../lib/files/schedulerConfig.js';
import { UNet } from '../../lib/nn/unet.js';
import { maxAbs, maxRelative } from '../support/compare.js';
import { eachDevice } from '../support/devices.js';
import { loadGoldenJson } from '../support/golden.js';
import { goldenPath, sharedGolden } from '../support/shared.js';
import { temporaryFolder } from '../support/temporaryFolder.js';

const temporary = temporaryFolder();

const schedules: [string, NoiseSchedule, object][] = [
  ['linear', NoiseSchedule.linear({ timesteps: 250 }), { beta_schedule: 'linear', trained_betas: null, beta_end: 0.02 }],
  ['rescaled', NoiseSchedule.linear({ timesteps: 250, rescaled: true }), { beta_schedule: 'linear', beta_end: 0.08 }],
  ['scaledLinear', NoiseSchedule.scaledLinear({ betaEnd: 0.012 }), { beta_schedule: 'scaled_linear', beta_end: 0.012 }],
  ['sigmoid', NoiseSchedule.sigmoid({ timesteps: 30 }), { beta_schedule: 'sigmoid' }],
  ['cosine', NoiseSchedule.cosine({ timesteps: 100 }), { beta_schedule: 'squaredcos_cap_v2', trained_betas: null }],
  ['another cosine', NoiseSchedule.cosine({ timesteps: 5, s: 0.02 }), { trained_betas: expect.any(Array) }],
  ['betas', NoiseSchedule.fromBetas([0.1, 0.2, 0.9]), { trained_betas: [0.1, 0.2, 0.9], num_train_timesteps: 3 }],
];

test.each(schedules)('a %s schedule survives as a DDPMScheduler', (_name, schedule, keys) => {
  const process = { schedule, prediction: 'v', variance: 'fixedLarge', clipDenoised: false } as const;
  const config = schedulerConfigOf('test', process);
  expect(config).toMatchObject(keys);
  expect(config).toMatchObject({ prediction_type: 'v_prediction', variance_type: 'fixed_large', clip_sample: false });
  const { schedule: again, ...rest } = processOf(JSON.parse(JSON.stringify(config)), 'test');
  expect(again.betas).toEqual(schedule.betas);
  expect(rest).toEqual({ prediction: 'v', variance: 'fixedLarge', clipDenoised: false });
});

test('the reference schedules of diffusers', () => {
  type Case = { id: string; beta_schedule: string; rescale_betas_zero_snr?: boolean; betas: number[] };
  const path = 'schedules/diffusers_0_20_2.json';
  const { cases } = loadGoldenJson<{ cases: Case[] }>(sharedGolden ? join(sharedGolden, path) : path);
  let compared = 0;
  for (const { id, betas, ...config } of cases) {
    if (config.beta_schedule === 'exp') continue; // of HeunDiscreteScheduler alone
    const got = processOf({ ...config, alphas_cumprod: null }, id).schedule.betas;
    // Made from ᾱ in float32, a beta is only as good as 1 − a quotient near 1; the others are a few roundings away.
    if (config.rescale_betas_zero_snr) expect(maxAbs(got, betas), id).toBeLessThan(5e-6);
    else expect(maxRelative(got, betas), id).toBeLessThan(1e-6);
    compared++;
  }
  expect(compared).toBeGreaterThanOrEqual(3);
});

test('entries that are missing take the defaults of the scheduler', () => {
  const process = processOf({}, 'test');
  expect(process).toMatchObject({ prediction: 'epsilon', variance: 'fixedSmall', clipDenoised: true });
  expect(process.schedule.toJSON()).toEqual(NoiseSchedule.linear().toJSON());
  const heun = processOf({ _class_name: 'HeunDiscreteScheduler' }, 'test');
  expect(heun.schedule.betas[999]).toBe(0.012);
  expect(heun.clipDenoised).toBe(false);
});

test.each([
  [{ beta_schedule: 'quartic' }, /test: key 'beta_schedule' must be .*'laplace'/],
  [{ variance_type: 'fixed_huge' }, /'variance_type' must be .*'fixed_huge'/],
  [{ clip_sample_range: 2 }, /'clip_sample_range' must be 1 for a process, got 2/],
  [{ trained_betas: [0.1, 2] }, /betas\[1\] = 2/],
  [{ num_train_timesteps: 'many' }, /'num_train_timesteps' must be an integer/],
])('a process that cannot be computed: %o', (config, message) => {
  expect(() => processOf(config, 'test')).toThrow(FileFormatError);
  expect(() => processOf(config, 'test')).toThrow(message);
});

eachDevice((id, open) => {
  test('a pipeline comes back as it was', async () => {
    const device = await open();
    using model = new UNet(device, { imageSize: 8, baseChannels: 8, channelMults: [1, 2], zeroInit: false });
    const schedule = NoiseSchedule.cosine({ timesteps: 50 });
    const diffusion = new GaussianDiffusion(device, schedule, { prediction: 'sample', variance: 'fixedLarge' });
    const folder = join(temporary, id);
    await savePipeline(folder, { model, diffusion, clipDenoised: false });
    expect(JSON.parse(await readFile(join(folder, 'model_index.json'), 'utf8'))).toMatchObject(
      JSON.parse(
        await readFile(goldenPath('unet/d1_cifar_style/model_index.json'), 'utf8').then((text) =>
          text.replace('0.20.2', '0.35.2'),
        ),
      ),
    );
    const again = await loadPipeline(device, folder);
    expect(again.schedule.betas).toEqual(schedule.betas);
    const { prediction, variance, clipDenoised } = again.diffusion;
    expect({ prediction, variance, clipDenoised }).toEqual({ prediction: 'sample', variance: 'fixedLarge', clipDenoised: false });
    const conv = 'up_blocks.0.resnets.1.conv1.weight';
    expect(await again.model.parameters().get(conv)?.read()).toEqual(await model.parameters().get(conv)?.read());
    again.model.dispose();
  });

  test('learned variances and dynamic thresholds come back', async () => {
    const device = await open();
    using model = new UNet(device, { imageSize: 8, outChannels: 6, baseChannels: 8, channelMults: [1] });
    const options = { variance: 'learnedRange', dynamicThreshold: { ratio: 0.9, max: 2 } } as const;
    const diffusion = new GaussianDiffusion(device, NoiseSchedule.linear({ timesteps: 20 }), options);
    const folder = join(temporary, `${id}-learned`);
    await savePipeline(folder, { model, diffusion });
    const again = await loadPipeline(device, folder);
    const { variance, dynamicThreshold } = again.diffusion;
    expect({ variance, dynamicThreshold }).toEqual(options);
    again.model.dispose();
  });

  test('pipelines of diffusers, in folders and flat', async () => {
    const device = await open();
    const nested = await loadPipeline(device, goldenPath('unet/d2_default_ss'));
    expect(nested.schedule.toJSON()).toMatchObject({ kind: 'cosine' });
    expect(nested.schedulerConfig._class_name).toBe('DDIMScheduler');
    const flat = await loadPipeline(device, goldenPath('unet/d1_cifar_style'));
    expect(flat.diffusion.variance).toBe('fixedLarge');
    nested.model.dispose();
    flat.model.dispose();
  });

  test('what cannot be saved or loaded', async () => {
    const device = await open();
    using model = new UNet(device, { imageSize: 8, baseChannels: 4, channelMults: [1] });
    const schedule = NoiseSchedule.linear();
    const save = (options: object) => savePipeline(join(temporary, 'refused'), options as never);
    await expect(save({ model })).rejects.toThrow(/'schedule' is required/);
    await expect(save({ model, schedule: schedule.respace(10) })).rejects.toThrow(/not been respaced/);
    await expect(save({ model, schedule, prediction: 'x0' })).rejects.toThrow(OptionError);
    await expect(save({ model, schedule, steps: 3 })).rejects.toThrow(/unknown option 'steps'/);
    await expect(save({ model: {}, schedule })).rejects.toThrow(/'model' must be a UNet/);
    const broken = join(temporary, `${id}-broken`);
    await cp(goldenPath('unet/d1_cifar_style'), broken, { recursive: true });
    await writeFile(join(broken, 'scheduler_config.json'), '[]');
    await expect(loadPipeline(device, broken)).rejects.toThrow(FileFormatError);
    await expect(loadPipeline(device, temporary)).rejects.toThrow(/neither scheduler_config\.json nor/);
  });
});
