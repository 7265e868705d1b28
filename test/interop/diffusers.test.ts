import { execFile, execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Device } from '../../lib/device.js';
import { GaussianDiffusion } from '../../lib/diffusion/gaussian.js';
import { NoiseSchedule } from '../../lib/diffusion/schedule.js';
import { loadPipeline, savePipeline } from '../../lib/files/pipeline.js';
import { writeSafetensors } from '../../lib/files/safetensors.js';
import { UNet } from '../../lib/nn/unet.js';
import type { UNetOptions } from '../../lib/nn/unetOptions.js';
import { openDevice } from '../../lib/openDevice.js';
import { loadGolden } from '../support/golden.js';
import { temporaryFolder } from '../support/temporaryFolder.js';

const temporary = temporaryFolder();

function missing(): string | null {
  try {
    execFileSync('python3', ['-c', 'import diffusers, safetensors, torch'], { stdio: 'ignore', env: offline });
    return null;
  } catch {
    return 'no python3 with diffusers on the path';
  }
}

const offline = { ...process.env, HF_HUB_OFFLINE: '1', PYTHONDONTWRITEBYTECODE: '1' };
const reason = missing();

async function python(command: 'read' | 'write', folder: string): Promise<Record<string, unknown>> {
  const script = join(__dirname, 'diffusersRoundTrip.py');
  const { stdout } = await promisify(execFile)('python3', [script, command, folder], { env: offline });
  return JSON.parse(stdout.trim().split('\n').at(-1) as string);
}

describe('diffusers', () => {
  let device: Device;
  beforeAll(async () => {
    device = await openDevice('cpu');
    if (reason === null) await python('write', temporary);
  });
  beforeEach((context) => {
    if (reason !== null) context.skip(reason);
  });

  test.each<[string, UNetOptions]>([
    ['one head', { imageSize: 8, baseChannels: 8, channelMults: [1, 2], attentionResolutions: [4], zeroInit: false, seed: 3 }],
    [
      'scale and shift, odd sizes',
      {
        imageSize: [8, 12],
        baseChannels: 12,
        channelMults: [1, 2, 1],
        resBlocks: 1,
        attentionResolutions: [8],
        headChannels: 4,
        timeEmbedding: 'scaleShift',
        normEps: 1e-6,
        zeroInit: false,
      },
    ],
    [
      'resampling in blocks',
      { imageSize: 8, baseChannels: 8, channelMults: [1, 2], attentionResolutions: [], resample: 'resBlock', zeroInit: false },
    ],
  ])('reads a pipeline that is written here: %s', async (name, options) => {
    const folder = join(temporary, name);
    using model = new UNet(device, options);
    const schedule = NoiseSchedule.cosine({ timesteps: 100 });
    const diffusion = new GaussianDiffusion(device, schedule, { prediction: 'v' });
    await savePipeline(folder, { model, diffusion });
    const [height, width] = model.imageSize as [number, number];
    const x = device.randn([2, height, width, 3], { seed: 9 });
    const t = Float32Array.of(3, 77);
    const output = (await model.forward(x, t).read({ layout: 'nchw' })) as Float32Array;
    await writeSafetensors(join(folder, 'io.safetensors'), [
      { name: 'x', shape: [2, 3, height, width], data: (await x.read({ layout: 'nchw' })) as Float32Array },
      { name: 't', shape: [2], data: t },
      { name: 'output', shape: [2, 3, height, width], data: output },
    ]);
    const found = await python('read', folder);
    expect(found).toMatchObject({ scheduler: 'DDPMScheduler', prediction_type: 'v_prediction', images: [1, height, width, 3] });
    expect(found.error).toBeLessThan(1e-5);
  });

  test.each([
    ['plain', {}, 'io'],
    ['plain/diffusion_pytorch_model.safetensors', {}, 'io'],
    ['plain/model.pt', {}, 'io'],
    ['plain/legacy.pt', {}, 'io'],
    ['plain/wrapped.ckpt', {}, 'io'],
    ['plain/double.pt', {}, 'io'],
    ['sharded', {}, 'io'],
    ['sharded-bin', {}, 'io'],
    ['sharded-variant', {}, 'io'],
    ['sharded-variant', { variant: 'ema' }, 'io'],
    ['bin', {}, 'io'],
    ['pipeline', {}, 'io'],
    ['unet_ema', {}, 'io'],
    ['fp16', {}, 'fp16'],
    ['fp16', { variant: 'fp16' }, 'fp16'],
    ['fp16-bin', {}, 'fp16'],
    ['bf16', { variant: 'bf16' }, 'bf16'],
    ['bf16-bin', {}, 'bf16'],
  ])('writes %s, which is read here with %o', async (path, options, expected) => {
    const io = await loadGolden(join(temporary, 'io.safetensors'));
    const wanted = (await loadGolden(join(temporary, `${expected}.safetensors`))).get('output')?.values as Float32Array;
    using model = await UNet.load(device, join(temporary, path), options);
    const x = io.get('x');
    const xt = device.tensor(x?.values as Float32Array, x?.shape as number[], { layout: 'nchw' });
    const output = await model.forward(xt, io.get('t')?.values as Float32Array).read({ layout: 'nchw' });
    expect(Math.max(...output.map((value, i) => Math.abs(value - (wanted[i] as number))))).toBeLessThan(1e-5);
  });

  test('writes a pipeline whose schedule is read here', async () => {
    const { model, schedule } = await loadPipeline(device, join(temporary, 'pipeline'));
    expect(schedule.toJSON()).toMatchObject({ kind: 'cosine' });
    model.dispose();
  });
});
