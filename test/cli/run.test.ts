import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { beforeAll, describe, expect, test } from 'vitest';
import { loadPipeline } from '../../lib/files/pipeline.js';
import { openDevice } from '../../lib/openDevice.js';
import { commandLine } from '../support/commandLine.js';
import { temporaryFolder } from '../support/temporaryFolder.js';

const root = temporaryFolder();
const pictures = join(root, 'pictures');
const network = '--base-channels 8 --channel-mults 1,2 --res-blocks 1 --attention 4 --groups 4'.split(' ');
const data = ['--data', pictures, '--size', '8', '--device', 'cpu'];

/** Two classes of six plain pictures. */
beforeAll(async () => {
  for (const kind of ['dark', 'light']) {
    mkdirSync(join(pictures, kind), { recursive: true });
    for (let i = 0; i < 6; i++) {
      const level = (kind === 'dark' ? 0 : 180) + 10 * i;
      const create = { width: 10, height: 10, channels: 3 as const, background: { r: level, g: level, b: 90 } };
      await sharp({ create })
        .png()
        .toFile(join(pictures, kind, `${i}.png`));
    }
  }
});

const train = (run: string, ...more: string[]) =>
  commandLine('train', ...data, ...network, '--batch-size', '4', '--output', join(root, run), ...more);
const readJson = (path: string) => JSON.parse(readFileSync(path, 'utf8'));

describe('train', () => {
  test('writes checkpoints, a pipeline and a result; --resume goes on with the settings of the run', async () => {
    const result = join(root, 'result.json');
    const settings = '--schedule cosine --timesteps 100 --prediction v --flip --seed 5'.split(' ');
    const { status, stdout, stderr } = await train('a', '--steps', '6', ...settings, '--json', result);
    expect(stderr).toMatch(/^train 6\/6 {2}loss \d\.\d{4} {2}\d+ images\/s/m);
    expect(stdout).toMatch(/12 images 8×8×3/);
    expect(status).toBe(0);
    const expected = { step: 6, interrupted: false, skipped: 0, device: 'cpu', pipeline: join(root, 'a/pipeline') };
    expect(readJson(result)).toMatchObject({ ...expected, checkpoint: join(root, 'a/checkpoint-6'), loss: expect.any(Number) });

    expect((await train('a', '--steps', '2')).stderr).toMatch(/holds a run already: add --resume/);
    const resumed = await commandLine('train', ...data, '--output', join(root, 'a'), '--resume', '--steps', '2', '--json');
    expect(JSON.parse(resumed.stdout)).toMatchObject({ step: 8, checkpoint: join(root, 'a/checkpoint-8') });

    const device = await openDevice('cpu');
    const { model, diffusion } = await loadPipeline(device, join(root, 'a/pipeline'));
    expect([model.imageSize, model.config.baseChannels]).toEqual([[8, 8], 8]);
    expect([diffusion.prediction, diffusion.schedule.length]).toEqual(['v', 100]);
    await device.close();
  });

  test('streams a folder that is larger than --cache; --skip-corrupt names what it leaves out', async () => {
    const spoiled = join(root, 'spoiled pictures');
    cpSync(pictures, spoiled, { recursive: true });
    const broken = join(spoiled, 'light', 'broken.png');
    writeFileSync(broken, 'no image');
    const more = ['--data', spoiled, '--steps', '3', '--json', '--channels', '1'];
    const failed = await train('failed', ...more, '--cache', '0');
    expect(failed).toMatchObject({ status: 1, stderr: expect.stringContaining(broken) });
    more.push('--fit', 'fill', '--background', 'black', '--skip-corrupt');
    const streamed = await train('streamed', ...more, '--cache', '0');
    expect(streamed.stderr).toContain(`left out, for it cannot be decoded: ${broken}\n`);
    const whole = await train('whole', ...more);
    expect(JSON.parse(streamed.stdout)).toMatchObject({ step: 3, loss: JSON.parse(whole.stdout).loss });
  });

  test('Ctrl-C saves a checkpoint and leaves with status 0', async () => {
    const training = train('b', '--steps', '1000000', '--json');
    const listeners = () => process.listeners('SIGINT').length;
    const before = listeners();
    setTimeout(() => process.emit('SIGINT'), 2000);
    const { status, stdout, stderr } = await training;
    expect(status).toBe(0);
    expect(stderr).toMatch(/interrupted\n$/);
    const result = JSON.parse(stdout);
    expect(result).toMatchObject({ interrupted: true, pipeline: null });
    expect(result.step).toBeGreaterThan(0);
    expect(existsSync(join(result.checkpoint, 'trainer.json'))).toBe(true);
    expect(listeners()).toBeLessThanOrEqual(before);
    const resumed = await commandLine('train', ...data, '--output', join(root, 'b'), '--resume', '--steps', '1', '--json');
    expect(JSON.parse(resumed.stdout).step).toBe(result.step + 1);
  });

  test('settings of the network that cannot be are wrong usage', async () => {
    const { status, stderr } = await train('c', '--size', '9');
    expect(stderr).toMatch(/^error: .*'imageSize' must be divisible by 2/m);
    expect(status).toBe(2);
    expect(existsSync(join(root, 'c'))).toBe(false);
  });
});

describe('sample', () => {
  beforeAll(async () => {
    expect((await train('conditional', '--steps', '3', '--classes')).status).toBe(0);
  });
  const sample = (model: string, output: string, ...more: string[]) =>
    commandLine(
      'sample',
      '--model',
      join(root, model),
      '--output',
      join(root, output),
      '--device',
      'cpu',
      '--steps',
      '4',
      ...more,
    );
  const pixels = (name: string) => sharp(join(root, name)).raw().toBuffer();

  test('draws the same picture from a run, its checkpoint and its pipeline, in any batch', async () => {
    const options = ['--count', '5', '--seed', '3', '--labels', '0,1', '--columns', '5', '--scale', '2'];
    const { status, stdout, stderr } = await sample('conditional', 'a.png', ...options, '--json');
    expect(stderr).toMatch(/^sample 4\/4/m);
    expect(status).toBe(0);
    const shape = [8, 8, 3];
    expect(JSON.parse(stdout)).toMatchObject({
      output: join(root, 'a.png'),
      count: 5,
      first: 0,
      seed: 3,
      method: 'ddpm',
      steps: 4,
      shape,
    });
    expect(await sharp(join(root, 'a.png')).metadata()).toMatchObject({ width: 5 * 16 + 4 * 2, height: 16 });
    const first = await pixels('a.png');
    await sample('conditional/checkpoint-3', 'b.png', ...options, '--batch-size', '2');
    expect(await pixels('b.png')).toEqual(first);
    await sample('conditional/pipeline', 'c.png', ...options, '--batch-size', '1');
    expect(await pixels('c.png')).toEqual(first);
    await sample('conditional', 'd.png', ...options, '--method', 'ddim', '--eta', '0.5');
    expect(await pixels('d.png')).not.toEqual(first);
  });

  test('without a seed it says which it took; a conditional model wants classes', async () => {
    const { stdout } = await sample('conditional', 'e.png', '--count', '1', '--labels', '1');
    const seed = /of seed (\d+)/.exec(stdout)?.[1] as string;
    await sample('conditional', 'f.png', '--count', '1', '--labels', '1', '--seed', seed);
    expect(await pixels('f.png')).toEqual(await pixels('e.png'));
    expect(await sample('conditional', 'g.png')).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(/2 classes.*--labels/),
    });
    expect(await sample('conditional', 'g.png', '--labels', '2')).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(/below 2/),
    });
  });

  test('Ctrl-C leaves with status 1 and no file', async () => {
    const sampling = sample('conditional', 'h.png', '--count', '100000', '--labels', '0', '--batch-size', '4');
    setTimeout(() => process.emit('SIGINT'), 500);
    expect(await sampling).toMatchObject({ status: 1, stderr: expect.stringMatching(/interrupted\n$/) });
    expect(existsSync(join(root, 'h.png'))).toBe(false);
  });
});
